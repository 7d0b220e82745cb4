"""
The entry point ``queuectl``: from the words of a command line to an exit code.

It imports the program only when it runs, so that Ctrl-C is quiet in the tenth of
a second that this takes, too.
"""

import gc
import signal
import sys
from typing import Final, NoReturn

# How many objects are made between two looks for garbage, for as long as the program runs.
# While it is imported nothing is garbage, and with Python's own 700 the looks take a tenth
# of a short command; what a worker makes is nearly all gone without a look.
_BETWEEN_LOOKS: Final = 10_000


def main() -> NoReturn:
    """Run the program with the words of its command line."""
    gc.set_threshold(_BETWEEN_LOOKS)
    interrupt = signal.getsignal(signal.SIGINT)

    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from queuectl.cli import program, screen

    screen.make_ready()

    try:
        signal.signal(signal.SIGINT, interrupt)
        code = program.execute(sys.argv[1:])
    except KeyboardInterrupt:
        code = program.INTERRUPTED

    # What is there now is the system's to take back: nobody has to look through it first.
    gc.freeze()
    sys.exit(code)
