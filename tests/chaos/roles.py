"""What a child of the fork server can be: engine, client, reader, operator, copier."""

import contextlib
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from queuectl import (
    DuplicateJobError,
    JobNotFoundError,
    JobSpec,
    JobState,
    JobStateError,
    LeftoverProcessError,
    OutcomeKind,
    QueueCtlError,
    QueueEngine,
    RunNotFoundError,
    StoreBusyError,
    StoreError,
    WaitTimeoutError,
    WorkerNotFoundError,
    WorkerStateError,
)
from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import OnCrash
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.runtime.recording import EndedRun, Recorder
from tests.chaos.copies import copy
from tests.chaos.defects import plant
from tests.chaos.forkserver import Role
from tests.chaos.logbook import Logbook, read_log
from tests.chaos.moments import wall
from tests.chaos.plan import Act, ActKind, Batch
from tests.chaos.shapes import JobPlan

# What an operator is told when others were faster: nothing was done.
_DENIALS: Final = (
    JobNotFoundError,
    JobStateError,
    RunNotFoundError,
    WorkerNotFoundError,
)
# And when nobody can say yet what will come of it.
_REFUSALS: Final = (
    *_DENIALS,
    # Its worker was killed before it could stop, and another goes on with the runs.
    LeftoverProcessError,
    StoreBusyError,
    WaitTimeoutError,
    # A worker in a program of somebody else's cannot be restarted; or one was killed over it.
    WorkerStateError,
)
_PAUSE: Final = 0.05


async def set_up(given: dict[str, Any]) -> None:
    """Make the database, and set what makes retries quick."""
    async with QueueEngine(given["database"]) as engine:
        await engine.config.set("backoff-base", "0.2")
        await engine.config.set("backoff-max", "1")


async def work(given: dict[str, Any]) -> None:
    """Be an engine with one worker, perhaps with a planted defect."""
    plant(given.get("defect", ""))

    async with QueueEngine(given["database"], kill_grace=given["grace"]) as engine:
        await engine.run(given["slots"], handle_signals=True)


async def idle(_: dict[str, Any]) -> None:
    """Be a process that has nothing to do with any job."""
    await anyio.sleep_forever()


async def take_over(given: dict[str, Any]) -> None:
    """Record a run as lost behind its worker's back, as who repairs a queue by hand might."""
    async with QueueEngine(given["database"]) as engine:
        job = await engine.get(given["job"])

        if job.state is JobState.PROCESSING and job.run_count == given["run"]:
            life = engine._life
            clock = SystemClock()
            ended = EndedRun(
                job=job,
                outcome=Outcome(kind=OutcomeKind.LOST, reason="lost"),
                started_at=job.started_at or clock.now(),
            )
            await Recorder(life.store, clock, life.folder).record(ended)


async def stop(given: dict[str, Any]) -> None:
    """Stop every worker, and wait until they are gone."""
    async with QueueEngine(given["database"]) as engine:
        await engine.stop_workers(timeout=given["seconds"])


async def check(given: dict[str, Any]) -> None:
    """Read the whole database and print what is wrong with it."""
    async with QueueEngine(given["database"]) as engine:
        for problem in (await engine.check()).problems:
            print(problem)  # noqa: T201 (its log is read)


async def enqueue(given: dict[str, Any]) -> None:
    """
    Be a client: enqueue batches when it is time, and log what is known of each.

    One that was killed goes on where its log ends.
    """
    log = Path(given["log"])
    batches = msgspec.json.decode(Path(given["batches"]).read_bytes(), type=list[Batch])
    invoked = {entry.batch for entry in read_log(log) if entry.what == "invoke"}
    settled = {entry.batch for entry in read_log(log) if entry.what == "ok"}

    with Logbook(log) as logbook:
        for number, batch in enumerate(batches):
            is_ours = batch.client == given["client"]
            is_tried = number in invoked and not batch.is_insistent

            if is_ours and number not in settled and not is_tried:
                await anyio.sleep(max(0.0, given["began"] + batch.at - wall()))
                await _enqueue(given["database"], logbook, number, batch)


async def _enqueue(database: str, logbook: Logbook, number: int, batch: Batch) -> None:
    ids = [job.id for job in batch.jobs]

    while True:
        logbook.write("invoke", ids=ids, batch=number)

        try:
            async with QueueEngine(database) as engine:
                await engine.enqueue_many([_spec(job) for job in batch.jobs])
        except DuplicateJobError:
            # An earlier try was answered to nobody; a batch is added whole or not at all.
            logbook.write("ok", ids=ids, batch=number, words="duplicate")
            return
        except StoreError as error:
            logbook.write("unknown", ids=ids, batch=number, words=str(error))
            await anyio.sleep(_PAUSE)
        else:
            logbook.write("ok", ids=ids, batch=number)
            return


def _spec(job: JobPlan) -> JobSpec:
    return JobSpec(
        id=job.id,
        command=job.command,
        max_retries=job.max_retries,
        priority=job.priority,
        timeout=timedelta(seconds=job.timeout),
        delay=None if job.delay is None else timedelta(seconds=job.delay),
        on_crash=None if job.on_crash is None else OnCrash(job.on_crash),
        max_output_bytes=job.max_output_bytes,
        cwd="/",
    )


async def read(given: dict[str, Any]) -> None:
    """Be a reader: look at everything, again and again."""
    luck = random.Random(given["seed"])  # noqa: S311 (chooses what to look at)

    async with QueueEngine(given["database"]) as engine:
        while True:
            with contextlib.suppress(*_REFUSALS), _bearing_full_disk():
                await engine.stats()
                await engine.list_workers()
                jobs = await engine.list(limit=50)

                if jobs:
                    job = luck.choice(jobs)
                    await engine.get(job.id)
                    await engine.attempts(job.id)
                    await engine.output_bytes(job.id, last=1000)

            await anyio.sleep(luck.uniform(0.1, 0.6))


async def operate(given: dict[str, Any]) -> None:
    """Be an operator: do what the plan says, when it is time."""
    acts = msgspec.json.decode(Path(given["acts"]).read_bytes(), type=list[Act])

    with Logbook(Path(given["log"])) as logbook:
        async with QueueEngine(given["database"]) as engine:
            for act in acts:
                await anyio.sleep(max(0.0, given["began"] + act.at - wall()))
                await _act(engine, logbook, act)


@contextlib.contextmanager
def _bearing_full_disk() -> Iterator[None]:
    """Go on where the disk is full; anything else that is wrong with a database is told."""
    try:
        yield
    except StoreError as error:
        if "the disk is full" not in str(error):
            raise


async def _act(engine: QueueEngine, logbook: Logbook, act: Act) -> None:
    """Do an act that is in the log by then, and log the answer, where there is one."""
    with contextlib.suppress(*_REFUSALS), _bearing_full_disk():
        targets = await _targets(engine, act)
        asked = logbook.ask(act.kind, targets)

        try:
            await _do(engine, act, targets)
        except _DENIALS as error:
            logbook.answer(asked, refusal=str(error))
        else:
            logbook.answer(asked)


async def _targets(engine: QueueEngine, act: Act) -> list[str]:
    """Choose the job or the worker that an act is about; none where it is about neither."""
    if states := _STATES.get(act.kind):
        jobs = [job.id for state in states for job in await engine.list(state, limit=40)]
        return [_picked(jobs, act.pick, JobNotFoundError("any"))]

    if act.kind in {ActKind.STOP_WORKER, ActKind.STOP_WORKER_NOW, ActKind.RESTART_WORKER}:
        workers = [worker.id for worker in await engine.list_workers() if worker.is_alive]
        return [_picked(workers, act.pick, WorkerNotFoundError("any"))]

    return []


def _picked(names: list[str], pick: float, error: QueueCtlError) -> str:
    if not names:
        raise error

    return names[int(pick * len(names))]


async def _do(engine: QueueEngine, act: Act, targets: list[str]) -> None:
    match act.kind:
        case ActKind.CANCEL:
            await engine.cancel(*targets, reason="chaos")
        case ActKind.RETRY:
            await engine.retry(*targets)
        case ActKind.RETRY_DEAD:
            await engine.dlq.retry_all()
        case ActKind.STOP_WORKER | ActKind.STOP_WORKER_NOW:
            is_hasty = act.kind is ActKind.STOP_WORKER_NOW
            await engine.stop_workers(targets, now=is_hasty, timeout=3)
        case ActKind.RESTART_WORKER:
            await engine.restart_workers(targets, timeout=3)
        case ActKind.SET_CONFIG:
            await engine.config.set("worker-poll-interval", f"{0.2 + act.pick:.2f}")
        case _:
            await engine.stats()


# In which states the jobs are that an act is about.
_STATES: Final = {
    ActKind.CANCEL: ("processing", "pending", "failed"),
    ActKind.RETRY: ("dead", "cancelled", "failed"),
}

ROLES: Final[dict[str, Role]] = {
    "set_up": set_up,
    "work": work,
    "idle": idle,
    "take_over": take_over,
    "stop": stop,
    "check": check,
    "enqueue": enqueue,
    "read": read,
    "operate": operate,
    "copy": copy,
}
