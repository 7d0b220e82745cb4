"""What a chaos run will do: made of nothing but a seed and a few numbers."""

import random
from enum import StrEnum
from typing import Final

import msgspec

from tests.chaos.shapes import JobPlan, make_job


class FaultKind(StrEnum):
    """What the nemesis does."""

    KILL_ENGINE = "kill_engine"
    KILL_ALL_ENGINES = "kill_all_engines"
    KILL_JOB = "kill_job"
    KILL_CLIENT = "kill_client"
    STOP_ENGINE = "stop_engine"
    LOCK_DATABASE = "lock_database"
    LONG_READER = "long_reader"
    TAKE_OVER = "take_over"
    RECYCLE_PID = "recycle_pid"
    COPY_DATABASE = "copy_database"
    FILL_DISK = "fill_disk"


class ActKind(StrEnum):
    """What operators do."""

    CANCEL = "cancel"
    RETRY = "retry"
    RETRY_DEAD = "retry_dead"
    STOP_WORKER = "stop_worker"
    STOP_WORKER_NOW = "stop_worker_now"
    RESTART_WORKER = "restart_worker"
    SET_CONFIG = "set_config"
    SHOW_STATUS = "show_status"
    SHOW_LIST = "show_list"
    SHOW_LOGS = "show_logs"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """
    A fault.

    Attributes:
        at: Seconds from the beginning.
        pick: Chooses the victim among those that are there, 0.0 to 1.0.
        length: Seconds that it lasts, where it does.
    """

    at: float
    kind: FaultKind
    pick: float
    length: float


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """
    A command of an operator.

    Attributes:
        at: Seconds from the beginning.
        pick: Chooses whom it is about, 0.0 to 1.0.
        by_command: Whether it goes through the command line.
    """

    at: float
    kind: ActKind
    pick: float
    by_command: bool


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """
    Jobs that a client enqueues in one call.

    Attributes:
        at: Seconds from the beginning.
        is_insistent: Whether a client that was killed tries it again.
    """

    at: float
    client: int
    jobs: list[JobPlan]
    is_insistent: bool


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """
    How large a run is to be.

    Attributes:
        seconds: How long faults and jobs arrive.
        jobs: How many jobs.
        kills: How many times one engine, or all at once, are killed.
        engines: How many are kept alive.
        slots: Of each engine.
        clients: Enqueuing processes.
        command_share: One in so many engines is the real command; 0 for none.
        is_disk_small: Whether the database lies on a disk that is filled up.
        drain_seconds: How long the queue may take to empty in the end.
        has_operators: Whether anybody gives commands.
        kinds: The kinds of jobs; else all.
    """

    seconds: float
    jobs: int
    kills: int
    engines: int = 3
    slots: int = 6
    clients: int = 3
    command_share: int = 5
    is_disk_small: bool = False
    drain_seconds: float = 120.0
    has_operators: bool = True
    kinds: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A whole run.

    Attributes:
        pauses: Seconds before each engine that replaces another, in turn.
    """

    seed: int
    size: Size
    batches: list[Batch]
    faults: list[Fault]
    acts: list[Act]
    pauses: list[float]

    @property
    def jobs(self) -> dict[str, JobPlan]:
        """All jobs by their ids."""
        return {job.id: job for batch in self.batches for job in batch.jobs}


# For each kill of an engine, how many faults of the other kinds.
_OTHERS: Final = {
    FaultKind.KILL_JOB: 0.4,
    FaultKind.KILL_CLIENT: 0.15,
    FaultKind.STOP_ENGINE: 0.2,
    FaultKind.LOCK_DATABASE: 0.06,
    FaultKind.LONG_READER: 0.05,
    FaultKind.COPY_DATABASE: 0.04,
    FaultKind.TAKE_OVER: 0.03,
    FaultKind.RECYCLE_PID: 0.03,
}

# One in so many kills takes all engines at once.
_ALL_AT_ONCE: Final = 12

_LENGTHS: Final = {
    FaultKind.STOP_ENGINE: (0.5, 2.0),
    FaultKind.LOCK_DATABASE: (0.1, 3.0),
    FaultKind.LONG_READER: (0.5, 5.0),
    FaultKind.FILL_DISK: (0.3, 2.0),
    FaultKind.TAKE_OVER: (0.8, 1.5),
}

_ACTS: Final = {
    ActKind.CANCEL: 10,
    ActKind.RETRY: 5,
    ActKind.RETRY_DEAD: 3,
    ActKind.STOP_WORKER: 2,
    ActKind.STOP_WORKER_NOW: 1,
    ActKind.RESTART_WORKER: 2,
    ActKind.SET_CONFIG: 2,
    ActKind.SHOW_STATUS: 2,
    ActKind.SHOW_LIST: 2,
    ActKind.SHOW_LOGS: 2,
}

_SECONDS_BETWEEN_ACTS: Final = 0.7
_LARGEST_BATCH: Final = 20


def make_plan(seed: int, size: Size) -> Plan:
    """Return the plan of a seed; the same one each time."""
    luck = random.Random(f"queuectl chaos {seed}")  # noqa: S311 (chooses faults, hides nothing)

    return Plan(
        seed=seed,
        size=size,
        batches=_batches(luck, size),
        faults=_faults(luck, size),
        acts=_acts(luck, size) if size.has_operators else [],
        pauses=[round(luck.choice([0.0, luck.uniform(0, 0.3)]), 3) for _ in range(997)],
    )


def _batches(luck: random.Random, size: Size) -> list[Batch]:
    batches = []
    made = 0

    while made < size.jobs:
        count = min(luck.choice([1, 1, 2, 5, luck.randint(1, _LARGEST_BATCH)]), size.jobs - made)
        jobs = [make_job(f"j{made + n:06}", luck, size.kinds) for n in range(count)]
        made += count
        batches.append(
            Batch(
                at=round(luck.uniform(0, size.seconds * 0.9), 3),
                client=luck.randrange(size.clients),
                jobs=jobs,
                is_insistent=luck.random() < 0.5,
            )
        )

    return sorted(batches, key=lambda batch: batch.at)


def _faults(luck: random.Random, size: Size) -> list[Fault]:
    counts = {kind: round(share * size.kills) for kind, share in _OTHERS.items()}
    counts[FaultKind.KILL_ALL_ENGINES] = size.kills // _ALL_AT_ONCE
    counts[FaultKind.KILL_ENGINE] = size.kills - counts[FaultKind.KILL_ALL_ENGINES]

    if size.is_disk_small:
        counts[FaultKind.FILL_DISK] = max(3, size.kills // 2)

    faults = [
        Fault(
            at=round(luck.uniform(0.02, 1.0) * size.seconds, 3),
            kind=kind,
            pick=luck.random(),
            length=round(luck.uniform(*_LENGTHS.get(kind, (0.0, 0.0))), 3),
        )
        for kind, count in counts.items()
        for _ in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.at)


def _acts(luck: random.Random, size: Size) -> list[Act]:
    kinds = luck.choices(
        list(_ACTS), list(_ACTS.values()), k=round(size.seconds / _SECONDS_BETWEEN_ACTS)
    )
    acts = [
        Act(
            at=round(luck.uniform(0.05, 0.95) * size.seconds, 3),
            kind=kind,
            pick=luck.random(),
            by_command=luck.random() < 0.2,
        )
        for kind in kinds
    ]
    return sorted(acts, key=lambda act: act.at)
