"""
For tests of programs that embed an engine: a clock that stands still, pretended runs.

The database and everything else are the real ones; use a temporary folder.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import msgspec

from queuectl.engine.api import QueueEngine
from queuectl.engine.domain.events import EventKind
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.runner import RunRequest

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class FakeTimer:
    """A call that a `FakeClock` will make."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not make it."""
        self.call = None

    def fire(self) -> None:
        """Make it, where it was not cancelled."""
        if self.call is not None:
            self.call()


class FakeClock:
    """
    A clock that moves when told to.

    Args:
        start: The time of day that it begins with, with a zone.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._now = start
        self._passed = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds that were let pass."""
        return self._passed

    def call_later(self, seconds: float, call: Callable[[], object]) -> FakeTimer:
        """Call when this many seconds were let pass."""
        timer = FakeTimer(call)

        if seconds <= 0:
            asyncio.get_running_loop().call_soon(timer.fire)
            return timer

        heapq.heappush(self._timers, (self._passed + seconds, next(self._order), timer))
        return timer

    def advance(self, by: float | timedelta) -> None:
        """Let seconds pass, and make the calls that fall due, in order."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        end = self._passed + seconds

        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._move_to(max(due, self._passed))
            timer.fire()

        self._move_to(end)

    def jump(self, by: timedelta) -> None:
        """Set the time of day, as an operator would; no time passes."""
        self._now += by

    def _move_to(self, passed: float) -> None:
        self._now += timedelta(seconds=passed - self._passed)
        self._passed = passed


class FakeRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a pretended run does.

    Attributes:
        exit_code: What it ends with; None where a signal ends it.
        signal: The signal that ends it, as ``SIGKILL``.
        output: What it writes.
        takes: Seconds of the clock that it takes.
    """

    exit_code: int | None = 0
    signal: str | None = None
    output: bytes = b""
    takes: float = 0.0


class FakeRunner:
    """
    Starts no processes; commands that are not scripted succeed at once.

    Args:
        clock: Tells when a run that takes time is over.

    Attributes:
        started: What was started, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self.started: list[RunRequest] = []
        self._clock = clock
        self._scripts: dict[str, list[FakeRun]] = {}
        self._errors: dict[str, OSError] = {}

    def script(self, command: str, *runs: FakeRun) -> None:
        """Say what the runs of a command do, one after the other; the last one stays."""
        self._scripts[command] = list(runs)

    def refuse(self, command: str, error: OSError) -> None:
        """Let the system refuse to start a command."""
        self._errors[command] = error

    async def start(self, request: RunRequest) -> "FakeProcess | None":
        """Pretend to start a command, where it is wanted still."""
        if not request.is_wanted():
            return None

        self.started.append(request)

        if error := self._errors.get(request.command):
            raise error

        runs = self._scripts.get(request.command, [FakeRun()])
        run = runs.pop(0) if len(runs) > 1 else runs[0]
        request.files.write_output(run.output)
        return FakeProcess(run, self._clock, pid=len(self.started))


class FakeProcess:
    """A run that is pretended."""

    def __init__(self, run: FakeRun, clock: Clock, *, pid: int) -> None:
        self._pid = pid
        self._result = ProcessResult(exit_code=run.exit_code, signal=run.signal)
        self._ended = asyncio.Event()

        if run.takes:
            self._timer = clock.call_later(run.takes, self._ended.set)
        else:
            self._ended.set()

    @property
    def pid(self) -> int:
        """The number of the run, from 1."""
        return self._pid

    @property
    def told_at(self) -> float | None:
        """Not said."""
        return None

    async def wait(self) -> ProcessResult:
        """Return when it has ended."""
        await self._ended.wait()
        return self._result

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    async def end_group(self, grace: float) -> Remains:  # noqa: ARG002 (it obeys at once)
        """End it, where it has not ended."""
        if not self._ended.is_set():
            self._result = ProcessResult(exit_code=None, signal="SIGTERM")
            self._ended.set()

        return Remains.GONE

    async def end_tree(self, grace: float) -> Remains:
        """End it as `end_group` does; it has no children."""
        return await self.end_group(grace)


async def drain(engine: QueueEngine, clock: FakeClock, *, concurrency: int = 1) -> None:
    """
    Run jobs until nothing is due, running or waiting for a retry.

    The clock is moved to each retry's time as soon as there is one.

    Args:
        engine: Open, with this clock.
        clock: The engine's.
        concurrency: How many jobs to run at once.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_skip_backoff, engine, clock, await engine.last_event())
        await engine.drain(concurrency)
        tasks.cancel_scope.cancel()


async def _skip_backoff(engine: QueueEngine, clock: FakeClock, since: int) -> None:
    for job in await engine.list("failed"):
        clock.advance(max(job.run_at - clock.now(), timedelta()))

    async for event in engine.events(since=since):
        if event.kind is EventKind.FAILED:
            job = await engine.get(event.job_id)
            clock.advance(max(job.run_at - clock.now(), timedelta()))


__all__ = ["FakeClock", "FakeProcess", "FakeRun", "FakeRunner", "FakeTimer", "drain"]
