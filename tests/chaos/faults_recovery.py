"""
Two workers that died over their runs, and what a third must make of them, whatever fails.

One of the dead was ending its run, for it had been told to stop, and had written that
down. The other had a run that is not to outlive its worker, one that came to its end
unseen, and one that goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from queuectl import QueueCtlError, QueueEngine, StoreError
from tests.chaos.faults_fork import begin, kill, until
from tests.chaos.faults_scenario import Found, Tell
from tests.chaos.heard import illegal

_GRACE: Final = 0.2
_TRIES: Final = 4
# Seconds, for one engine to settle what is there.
_PATIENCE: Final = 5.0
_NO_TIME_TO_END: Final = 60.0

# Says so where the run before it is still there; then that it began.
_BEGIN: Final = (
    'me="$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT"; '
    "read -r p 2>/dev/null <pid.$QUEUECTL_JOB_ID && read -r _ _ s _ 2>/dev/null </proc/$p/stat"
    ' && [ "$s" != Z ] && echo "O $me" >>witness; '
    'echo $$ >pid.$QUEUECTL_JOB_ID; echo "S $me" >>witness; '
)
# The first run only, and not for ever: whoever walks may be killed.
_WAIT: Final = (
    "n=0; until [ $QUEUECTL_ATTEMPT -gt 1 ] || [ -e go.$QUEUECTL_JOB_ID ]"
    ' || [ "$((n += 1))" -gt 6000 ]; do sleep 0.01; done; '
)
_END: Final = 'echo "E $me" >>witness'
_COMMAND: Final = _BEGIN + _WAIT + _END

# What was asked of the jobs, and the outcomes of their runs.
_STOPPING: Final[dict[str, dict[str, Any]]] = {
    "stopping": {"command": f"trap '' TERM; {_COMMAND}", "max_retries": 0}
}
_OTHERS: Final[dict[str, dict[str, Any]]] = {
    "killed": {"command": _COMMAND, "on_crash": "kill", "max_retries": 3, "backoff_base": 0},
    "over": {"command": _COMMAND, "max_retries": 0},
    "going": {"command": _COMMAND, "max_retries": 0},
}
_OUTCOMES: Final = {
    "stopping": ["interrupted", "completed"],
    "killed": ["lost", "completed"],
    "over": ["completed"],
    "going": ["completed"],
}


def leave_dead(folder: Path) -> None:
    """Let two workers die, and return when the one run that ends has ended."""
    workers: list[int] = []

    try:
        workers.append(begin(lambda: asyncio.run(_stop_over_a_run(folder)), folder))
        until(lambda: bool(_lines(folder, "S")), "the first run")
        workers.append(begin(lambda: asyncio.run(_work(folder)), folder))
        until(lambda: len(_lines(folder, "S")) == 1 + len(_OTHERS), "the other runs")
        (folder / "stop").touch()
        until(lambda: _is_noted(folder), "the note of the stop")
    finally:
        kill(workers)

    _let_go(folder, "over")
    until(lambda: not _is_there(folder, "over"), "the end that nobody sees")


async def _stop_over_a_run(folder: Path) -> None:
    async with QueueEngine(folder / "queue.db", kill_grace=_NO_TIME_TO_END) as engine:
        await engine.config.set("worker-poll-interval", 0.05)
        await _enqueue(engine, folder, _STOPPING)

        async with engine.workers():
            while not (folder / "stop").exists():  # noqa: ASYNC110 (another process makes it)
                await anyio.sleep(0.005)

            # The one whose run says that it began first.
            first, *_ = await engine.list_workers()
            await engine.stop_workers([first.id], now=True)


async def _work(folder: Path) -> None:
    async with QueueEngine(folder / "queue.db") as engine:
        await _enqueue(engine, folder, _OTHERS)

        async with engine.workers(len(_OTHERS)):
            await anyio.sleep_forever()


async def _enqueue(engine: QueueEngine, folder: Path, jobs: dict[str, dict[str, Any]]) -> None:
    for name, options in jobs.items():
        await engine.enqueue(id=name, cwd=folder, **options)


class Settling:
    """
    Settles what the dead left; what fails is tried again with a new engine.

    Args:
        folder: Where the database is, and the jobs run.
        tell: Writes down what happened.
        arm: Called when operations are to be counted from.
    """

    def __init__(self, folder: Path, tell: Tell, arm: Callable[[], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._arm = arm

    async def live(self) -> None:
        """Come to the end, however often it takes."""
        for _ in range(_TRIES):
            try:
                async with QueueEngine(self._folder / "queue.db", kill_grace=_GRACE) as engine:
                    self._arm()
                    await self._settle(engine)

                self._tell("end")
            except (QueueCtlError, OSError) as error:
                self._tell(f"error {type(error).__name__}: {error}".replace("\n", " "))
            else:
                return

    async def _settle(self, engine: QueueEngine) -> None:
        """Return when all is over; what fails of our own looking is no reason to leave."""
        with anyio.fail_after(_PATIENCE):
            async with engine.workers(len(_OUTCOMES)):
                while True:
                    try:
                        await self._look(engine)
                    except StoreError as error:
                        self._tell(f"error {type(error).__name__}: {error}")
                    else:
                        return

    async def _look(self, engine: QueueEngine) -> None:
        async for event in engine.events(since=0):
            if (event.job_id, event.kind.value) == ("going", "adopted"):
                _let_go(self._folder, "going")
                break

        await engine.wait_all(list(_OUTCOMES))


def settle_rest(folder: Path) -> None:
    """Let everything end that still waits, before somebody looks."""
    _let_go(folder, "going")


def wrongs(folder: Path, told: Sequence[str], found: Found) -> Iterator[str]:
    """
    Yield what must not be.

    Args:
        folder: Where the jobs ran.
        told: What the disturbed engines were told.
        found: What was found afterwards.
    """
    yield from found.problems
    yield from (word for word in told if word.startswith("error TimeoutError"))
    yield from illegal(found.events, found.jobs)
    began, ended = _lines(folder, "S"), _lines(folder, "E")
    yield from (f"two runs at once: {line}" for line in _lines(folder, "O"))

    if found.workers:
        yield f"{found.workers} workers are left on the list"

    for name, outcomes in _OUTCOMES.items():
        # One that the system could not start, or did not start in time, never began.
        told_of = [
            outcome
            for number, outcome in enumerate(found.runs[name], 1)
            if outcome != "interrupted" or f"{name} {number}" in began
        ]

        if told_of != outcomes:
            yield f"the runs of {name} are {told_of}, not {outcomes}"

        for what, lines, count in (("began", began, len(outcomes)), ("ended", ended, 1)):
            times = sum(line.split()[0] == name for line in lines.elements())

            if times != count:
                yield f"{name} {what} {times} times, not {count}"


def _lines(folder: Path, kind: str) -> Counter[str]:
    """Return job and run of each line of a kind, and how often it is there."""
    file = folder / "witness"
    lines = file.read_text().splitlines() if file.exists() else []
    return Counter(line[2:] for line in lines if line.startswith(f"{kind} "))


def _let_go(folder: Path, name: str) -> None:
    (folder / f"go.{name}").touch()


def _is_noted(folder: Path) -> bool:
    """Whether the engine that was told to stop has written down why its run ends."""
    locks = folder.glob("queue.db-run/workers/*/[0-9]*.lock")
    return any("shutdown" in lock.read_text() for lock in locks)


def _is_there(folder: Path, name: str) -> bool:
    """Whether the shell of a job's run has not ended."""
    pid = (folder / f"pid.{name}").read_text().strip()

    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
