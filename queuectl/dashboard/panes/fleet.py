"""The workers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import WorkerState
from queuectl.dashboard import words
from queuectl.dashboard.charts import meter
from queuectl.dashboard.text import readable_line
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import QueueEngine, WorkerInfo

_MEANINGS: Final = {
    WorkerState.RUNNING: "takes jobs",
    WorkerState.DRAINING: "takes what is left, then leaves",
    WorkerState.STOPPING: "finishes what it runs, then leaves",
    WorkerState.UNRESPONSIVE: "does not answer: it hangs, or was stopped by a signal",
    WorkerState.DEAD: "is gone; another worker takes over its jobs",
}


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker as it is shown.

    Attributes:
        id: As ``w12``.
        state: Its name.
        meaning: What the state means.
        pulse: Whether it is alive, since when, and what shows it.
        place: Its process and its machine.
        busy: ``3 of 4``.
        slots: A drawing of how many slots are busy, SVG.
        started: When it started.
        can: What can be done with it: ``drain``, ``stop``.
    """

    id: str
    state: str
    meaning: str
    pulse: str
    place: str
    busy: str
    slots: str
    started: Moment
    can: frozenset[str]


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The workers.

    Attributes:
        workers: All that are registered.
        alive: How many hold their lock.
        summary: One sentence on all of them.
    """

    workers: tuple[WorkerRow, ...]
    alive: int
    summary: str


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> FleetView:
    """Look at the workers."""
    del params
    workers = await engine.list_workers()
    return fleet_view(workers, now)


def fleet_view(workers: "Sequence[WorkerInfo]", now: datetime) -> FleetView:
    """Return the workers as they are shown."""
    return FleetView(
        workers=tuple(_row(worker, now) for worker in workers),
        alive=sum(worker.is_alive for worker in workers),
        summary=summary(workers),
    )


def summary(workers: "Sequence[WorkerInfo]") -> str:
    """Write how many workers there are, and how busy: ``2 workers, 5 of 8 slots busy``."""
    alive = [worker for worker in workers if worker.is_alive]

    if not alive:
        return "no worker is running"

    return f"{words.counted(len(alive), 'worker')}, {slots_busy(alive)}"


def slots_busy(workers: "Sequence[WorkerInfo]") -> str:
    """Write how many slots of the living workers are busy: ``5 of 8 slots busy``."""
    alive = [worker for worker in workers if worker.is_alive]
    busy = sum(worker.busy for worker in alive)
    slots = sum(worker.concurrency for worker in alive)
    return f"{busy} of {words.counted(slots, 'slot')} busy"


def _row(worker: "WorkerInfo", now: datetime) -> WorkerRow:
    busy = f"{worker.busy} of {worker.concurrency}"

    return WorkerRow(
        id=worker.id,
        state=worker.state.value,
        meaning=_MEANINGS[worker.state],
        pulse=_pulse(worker, now),
        place=f"pid {worker.pid} on {readable_line(worker.host)}",
        busy=busy,
        slots=meter(worker.busy, worker.concurrency, title=f"{busy} slots busy"),
        started=words.moment(worker.started_at, now),
        can=_can(worker.state),
    )


def _pulse(worker: "WorkerInfo", now: datetime) -> str:
    if not worker.is_alive:
        return "dead: nobody holds its lock"

    return f"alive for {words.age(now - worker.started_at)}: it holds its lock"


def _can(state: WorkerState) -> frozenset[str]:
    match state:
        case WorkerState.RUNNING | WorkerState.DRAINING | WorkerState.UNRESPONSIVE:
            return frozenset({"drain", "stop"})
        case WorkerState.STOPPING:
            return frozenset({"stop"})
        case WorkerState.DEAD:
            return frozenset()
