"""
The entry point ``queuectl``: from the words of a command line to an exit code.

It imports the program only when it runs, so that Ctrl-C is quiet in the tenth of
a second that this takes, too.
"""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the program with the words of its command line."""
    interrupt = signal.getsignal(signal.SIGINT)

    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from queuectl.cli import program, screen

    screen.make_ready()
    signal.signal(signal.SIGINT, interrupt)

    try:
        code = program.execute(sys.argv[1:])
    except KeyboardInterrupt:
        code = program.INTERRUPTED

    sys.exit(code)
