"""
Signals that stop a worker: the first drains, the second ends, the third leaves.

``queuectl run`` takes them itself, and cancels its job.
"""

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
        with _ignoring_alone():
            yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


@contextmanager
def _ignoring_alone() -> Iterator[None]:
    """
    Have jobs begin with the usual SIGINT and SIGQUIT, also where we are to ignore them.

    A script's ``&`` has a program ignore both, and so would every job, which could not
    be interrupted then. A handler that does nothing is not inherited. What nohup has
    a program ignore, SIGHUP, is meant for its children too.
    """
    ignored = [n for n in (signal.SIGINT, signal.SIGQUIT) if signal.getsignal(n) is signal.SIG_IGN]

    for number in ignored:
        signal.signal(number, lambda *_: None)

    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
