"""Signals that stop a worker: the first drains, the second ends, the third leaves."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from queuectl.engine.runtime.plans import Stop

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# What a shell says of a program that Ctrl-C ended.
_INTERRUPTED: Final = 130


@contextmanager
def stopping_on_signals(stop: Callable[[Stop], None]) -> Iterator[None]:
    """
    Handle SIGINT, SIGTERM and SIGHUP while in the context.

    Args:
        stop: Called with `Stop.DRAIN` at the first signal and `Stop.NOW` at the
            second. At the third the process exits at once with code 130.
    """
    loop = asyncio.get_running_loop()
    seen = 0

    def handle() -> None:
        nonlocal seen
        seen += 1

        if seen == 1:
            _log.warning("stopping when the running jobs are done; again to end them now")
            stop(Stop.DRAIN)
        elif seen == 2:  # noqa: PLR2004 (the second)
            _log.warning("ending the running jobs; again to leave at once")
            stop(Stop.NOW)
        else:
            os._exit(_INTERRUPTED)

    # What was ignored when we were started, as by nohup, stays ignored.
    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    for number in handled:
        loop.add_signal_handler(number, handle)

    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
