"""What cannot be read just now is not taken for another boot, or another container."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from queuectl.engine.runtime.liveness import boot_id


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Have none that could be opened while in the context."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def fresh_boot_id() -> Iterator[Callable[[], str]]:
    boot_id.cache_clear()
    yield boot_id
    boot_id.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no boot id elsewhere")
def test_a_boot_id_that_cannot_be_read_is_an_error_and_read_the_next_time(
    fresh_boot_id: Callable[[], str],
) -> None:
    with no_free_descriptor(), pytest.raises(OSError, match="Too many open files"):
        fresh_boot_id()

    assert fresh_boot_id() != ""
