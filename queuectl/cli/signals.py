"""Which signals ask the program to stop."""

import signal
from typing import Final

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_signals() -> list[signal.Signals]:
    """Return SIGINT, SIGTERM and SIGHUP, without those that were ignored at the start."""
    # As by nohup: what is ignored stays ignored.
    return [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
