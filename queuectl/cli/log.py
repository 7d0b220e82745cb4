"""The log of a worker on its standard error: one line an event."""

import logging
import sys
import time
from typing import Final

from queuectl import escape_line, escape_text
from queuectl.cli import screen

_TIMES: Final = "%Y-%m-%dT%H:%M:%SZ"


def show_log(*, is_debugging: bool, is_quiet: bool = False) -> None:
    """
    Write what the engine says to the standard error.

    Args:
        is_debugging: Everything.
        is_quiet: Only what is amiss; else also what happens to jobs.
    """
    level = logging.WARNING if is_quiet else logging.INFO
    handler = _LineHandler()
    handler.setFormatter(_LineFormatter("%(asctime)s %(message)s", datefmt=_TIMES))
    logger = logging.getLogger("queuectl")
    logger.setLevel(logging.DEBUG if is_debugging else level)
    logger.addHandler(handler)
    logger.propagate = False


class _LineHandler(logging.Handler):
    """Writes to what is the standard error now: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except OSError:
            # Nobody reads any more; the work goes on.
            screen.abandon()
        except Exception:  # noqa: BLE001 (logging's own way: a bad record stops nobody)
            self.handleError(record)


class _LineFormatter(logging.Formatter):
    """Names the level where something is amiss, and lets nothing steer the terminal."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        # A message is a line, whatever words of a user's are in it; a trace is not.
        first = escape_line(self.formatMessage(self._stamped(record)))
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        line = f"{first}\n{escape_text(trace)}" if trace else first

        if record.levelno < logging.WARNING:
            return line

        stamp, _, rest = line.partition(" ")
        return f"{stamp} {record.levelname.lower()}: {rest}"

    def _stamped(self, record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        return record
