"""A process group's number is the run's as long as something of the group is there."""

import sys

import pytest

from queuectl.engine.runtime import proc
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.group import RunGroup
from queuectl.engine.runtime.reaper import ProcessResult
from tests.integration.orphans import STAY, a_process
from tests.integration.processes import is_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def reaped(*, seconds_ago: float, group_is_gone: bool = False) -> ProcessResult:
    return ProcessResult(
        exit_code=0,
        signal=None,
        reaped_at=proc.uptime() - seconds_ago,
        group_is_gone=group_is_gone,
    )


async def test_whoever_got_the_number_of_a_group_that_is_gone_is_not_signalled() -> None:
    result = reaped(seconds_ago=100)

    async with a_process(STAY) as stranger:
        group = RunGroup(stranger, lambda: result)

        assert await group.end(0.1) is Remains.GONE
        assert is_running(stranger)


async def test_a_group_of_which_nothing_was_left_is_not_even_looked_at() -> None:
    async with a_process(STAY) as stranger:
        # It began before, and is not of it all the same.
        result = reaped(seconds_ago=0, group_is_gone=True)

        assert await RunGroup(stranger, lambda: result).end(0.1) is Remains.GONE
        assert is_running(stranger)


async def test_what_was_in_the_group_when_its_shell_was_reaped_is_ended() -> None:
    async with a_process(STAY) as left:
        result = reaped(seconds_ago=0)

        assert await RunGroup(left, lambda: result).end(5) is Remains.GONE
        assert not is_running(left)


async def test_a_number_is_not_signalled_any_more_once_the_group_was_seen_gone() -> None:
    results = [reaped(seconds_ago=0, group_is_gone=True)]

    async with a_process(STAY) as stranger:
        group = RunGroup(stranger, lambda: results[-1])
        assert await group.end(0.1) is Remains.GONE

        # Whoever began before this moment would be of it, were it not known to be gone.
        results.append(reaped(seconds_ago=0))
        assert await group.end(0.1) is Remains.GONE
        assert is_running(stranger)
