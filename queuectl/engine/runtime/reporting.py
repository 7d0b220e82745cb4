"""What keeps one thing from being done is logged, where it is to keep no other from it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl.engine.errors import EngineClosedError, StoreError, StoreUnusableError

_log = logging.getLogger(__name__)


@contextmanager
def reported(words: str, *, but: type[StoreError] = StoreUnusableError) -> Iterator[None]:
    """
    Report what keeps one thing from being done: it keeps no other, and the next look tries again.

    Args:
        words: What cannot be done, and to whom.
        but: Another error that keeps the others too, and so is raised.

    Raises:
        StoreUnusableError: Nothing can be done any more.
        EngineClosedError: The same.
    """
    try:
        yield
    except (StoreUnusableError, EngineClosedError, but):
        raise
    except (StoreError, OSError) as error:
        _log.error("%s: %s", words, error)
    except Exception:  # noqa: BLE001 (nobody has foreseen it; the log says where it was)
        _log.exception("%s", words)


@contextmanager
def store_errors_logged(words: str) -> Iterator[None]:
    """
    Log an error of the store that may be gone at the next try; any other error is raised.

    Args:
        words: What cannot be done.

    Raises:
        StoreUnusableError: The next try would meet it too.
    """
    try:
        yield
    except StoreUnusableError:
        raise
    except StoreError as error:
        _log.error("%s: %s", words, error)
