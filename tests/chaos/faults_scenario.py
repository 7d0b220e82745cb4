"""The life that is disturbed, and what has to be true when somebody looks afterwards."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio
import msgspec

from queuectl import DuplicateJobError, Event, Job, QueueEngine
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import QueueCtlError
from tests.chaos.heard import all_events, illegal

_OUTPUT: Final = 20_000
_TRIES: Final = 4
_PATIENCE: Final = 10.0

Tell = Callable[[str], object]


def _witness(rest: str) -> str:
    """Return a command that writes down that it ran."""
    return f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT" >> witness; {rest}'


class Life:
    """
    Enqueues, runs, cancels and retries; what fails is tried again with a new engine.

    Args:
        folder: Where the database is, and the jobs run.
        tell: Writes down what was acknowledged.
    """

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._folder = folder
        self._tell = tell
        self._done: set[str] = set()

    async def live(self) -> None:
        """Come to the end, however often it takes."""
        for _ in range(_TRIES):
            try:
                async with QueueEngine(self._folder / "queue.db", kill_grace=0.2) as engine:
                    await self._steps(engine)

                self._tell("end")
            except (QueueCtlError, OSError) as error:
                self._tell(f"error {type(error).__name__}: {error}".replace("\n", " "))
            else:
                return

    async def _steps(self, engine: QueueEngine) -> None:
        await self._once("poll", lambda: engine.config.set("worker-poll-interval", 0.05))
        await self._enqueue(engine, "a", ":")
        await self._enqueue(engine, "b", "exit 3", max_retries=0)
        await self._enqueue(engine, "c", f"head -c {_OUTPUT} /dev/zero")

        if "ran" not in self._done:
            async with engine.workers(2):
                await engine.wait_all(["a", "b", "c"], timeout=_PATIENCE / 2)

            self._done.add("ran")

        await self._enqueue(engine, "d", ":", delay=3600)
        await self._once("cancelled", lambda: engine.cancel("d"))
        await self._once("retried", lambda: engine.retry("b"))

    async def _enqueue(self, engine: QueueEngine, name: str, rest: str, **more: float) -> None:
        async def enqueue() -> None:
            command = _witness(rest)
            await engine.enqueue(command, id=name, cwd=self._folder, **more)  # type: ignore[arg-type]

        try:
            await self._once(f"enqueued {name}", enqueue)
        except DuplicateJobError:
            self._tell(f"refused, and there: {name}")
            self._done.add(f"enqueued {name}")

    async def _once(self, what: str, do: Callable[[], Awaitable[object]]) -> None:
        if what not in self._done:
            await do()
            self._tell(what)
            self._done.add(what)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine without faults found, when it had run the queue down."""

    problems: list[str]
    jobs: list[Job]
    events: list[Event]
    runs: dict[str, list[str]]
    output: int
    workers: int


async def run_down(folder: Path) -> Found:
    """Open the database as it was left, and run the queue down."""
    with anyio.fail_after(_PATIENCE):
        async with QueueEngine(folder / "queue.db", kill_grace=0.2) as engine:
            await engine.drain(2)
            jobs = await engine.list()
            ids = {job.id for job in jobs}
            runs = {name: await engine.attempts(name) for name in ids}
            return Found(
                problems=list((await engine.check()).problems),
                jobs=jobs,
                events=await all_events(engine),
                runs={name: [str(run.outcome) for run in found] for name, found in runs.items()},
                output=len(await engine.output_bytes("c")) if "c" in ids else 0,
                workers=len(await engine.list_workers()),
            )


def wrongs(folder: Path, told: Sequence[str], found: Found, *, may_lose: bool) -> Iterator[str]:
    """
    Yield what must not be.

    Args:
        folder: Where the jobs ran.
        told: What the disturbed life was told.
        found: What was found afterwards.
        may_lose: Whether a run may be lost: what proves how it ended may be missing.
    """
    yield from found.problems
    states = {job.id: job.state for job in found.jobs}

    for word in told:
        if word.startswith("enqueued ") and word.removeprefix("enqueued ") not in states:
            yield f"lost: {word}"

        if word.startswith("refused, and there"):
            yield word

    if "cancelled" in told and states.get("d") != JobState.CANCELLED:
        yield f"lost: d was cancelled, and is {states.get('d')}"

    if "retried" in told and EventKind.RETRIED not in {event.kind for event in found.events}:
        yield "lost: b was retried"

    expected = {"a": "completed", "b": "dead", "c": "completed"}
    yield from (
        f"{name} is {state}, not {expected[name]}"
        for name, state in states.items()
        if name in expected and state != expected[name]
    )

    if "c" in states and found.output != _OUTPUT:
        yield f"the output of c has {found.output} bytes"

    if found.workers:
        yield f"{found.workers} workers are left on the list"

    yield from illegal(found.events, found.jobs)
    yield from _misrun(folder, found, may_lose=may_lose)


def _misrun(folder: Path, found: Found, *, may_lose: bool) -> Iterator[str]:
    """Yield jobs that ran more often, or less often, than is recorded."""
    file = folder / "witness"
    lines = file.read_text().splitlines() if file.exists() else []
    times = Counter(line.split()[0] for line in lines)

    yield from (f"twice: run {line}" for line, count in Counter(lines).items() if count > 1)

    for name, outcomes in found.runs.items():
        ended = sum(outcome in {"completed", "failed"} for outcome in outcomes)
        lost = outcomes.count("lost")
        # Given back when its engine was closed, whether it had come to its words or not.
        cut_off = outcomes.count("interrupted")

        if lost and not may_lose:
            yield f"lost: a run of {name}: {outcomes}"

        if not ended <= times[name] <= ended + lost + cut_off:
            yield f"{name} ran {times[name]} times, and its runs are {outcomes}"

        if outcomes.count("completed") > 1:
            yield f"twice: {name} was completed again: {outcomes}"


def processes(mark: str) -> list[str]:
    """Return the command lines of processes that carry a mark in their environment."""
    found = []

    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            # Gone, a zombie, or not ours.
            continue

    return found
