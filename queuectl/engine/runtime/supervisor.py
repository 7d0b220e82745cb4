"""Starts and stops workers: registration, recovery, and the way out."""

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import TaskStatus

from queuectl.engine.domain.models import Job, worker_name
from queuectl.engine.errors import EngineClosedError, StoreError, StoreUnusableError
from queuectl.engine.runtime.deathwatch import Deathwatch
from queuectl.engine.runtime.executor import Executor
from queuectl.engine.runtime.liveness import Home, boot_id, pid_namespace
from queuectl.engine.runtime.plans import Stop, Surroundings, WorkerPlan
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.recovery import Recovery
from queuectl.engine.runtime.runfiles import RunFilesPool
from queuectl.engine.runtime.runner import Runner
from queuectl.engine.runtime.sweep import Sweeper, end_leftovers, has_held_files
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.worker import Worker

_log = logging.getLogger(__name__)

# Seconds between two looks for dead workers.
_RECOVERY_INTERVAL: Final = 1.0


async def run_worker(
    around: Surroundings,
    plan: WorkerPlan,
    *,
    runner: Runner,
    started: Callable[[Worker], Awaitable[Job | None]],
) -> Stop:
    """
    Register a worker, let it work until it is stopped, and take it off again.

    Args:
        around: What it works with.
        plan: What it is to be.
        runner: Starts its processes.
        started: Called when it is registered, before it works. May return a
            job that it has claimed for the worker; then it runs that alone.

    Returns:
        How it was stopped.
    """
    home = Home(around.folder)

    try:
        # Once asked for it may be made: a row that nobody takes off again.
        with anyio.CancelScope(shield=True):
            number = await _register(around, home, plan)
    except BaseException:
        home.remove()
        raise

    recorder = Recorder(around.store, around.clock, around.folder)
    worker = Worker(
        number=number,
        concurrency=plan.concurrency,
        store=around.store,
        executor=_make_executor(around, home, recorder, runner),
        bus=around.bus,
        clock=around.clock,
        until_settled=plan.until_settled,
        can_restart=plan.can_restart,
    )

    recovery = Recovery(
        store=around.store,
        recorder=recorder,
        folder=around.folder,
        clock=around.clock,
        worker=number,
        adopt=worker.adopt,
        is_stopping=lambda: worker.how_stopped is not Stop.NOT,
    )

    try:
        async with anyio.create_task_group() as services:
            if plan.recovers:
                await services.start(_recover_for_ever, recovery, worker)

            await worker.run(await started(worker))
            services.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _leave(around, worker, home)

    return worker.how_stopped


async def _register(around: Surroundings, home: Home, plan: WorkerPlan) -> int:
    return await around.store.register_worker(
        token=home.path.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        lock_file=home.identity(),
        pipe=around.bus.listen(),
        can_restart=plan.can_restart,
        concurrency=plan.concurrency,
        now=around.clock.now(),
    )


def _make_executor(
    around: Surroundings, home: Home, recorder: Recorder, runner: Runner
) -> Executor:
    return Executor(
        recorder=recorder,
        runner=runner,
        clock=around.clock,
        files=RunFilesPool(home.path, count=home.count_sets),
        grace=around.grace,
        home=home.path,
        database=around.database,
    )


async def _leave(around: Surroundings, worker: Worker, home: Home) -> None:
    """End what is left of the worker's runs, unless a successor takes it; take it off the list."""
    name = worker_name(worker.number)
    is_gone = False

    try:
        is_clean = await _end_runs(around, worker, home)
        is_gone = await around.store.unregister_worker(worker.number) and is_clean
    except (StoreError, EngineClosedError, OSError) as error:
        _log.error("cannot take worker %s off the list: %s", name, error)
    finally:
        # What others are to settle or to sweep, they find by the folder.
        if is_gone:
            home.remove()
        else:
            home.leave()

    try:
        # The folder of a worker whose last run was adopted here, too.
        await Sweeper(around.store, around.folder).sweep()
    except (StoreError, EngineClosedError, OSError) as error:
        _log.error("cannot remove what dead workers left: %s", error)


async def _end_runs(around: Surroundings, worker: Worker, home: Home) -> bool:
    """End what is left of a worker's runs; return whether nothing is, seen or not."""
    if worker.how_stopped is Stop.LEAVE:
        return False

    if not worker.has_run:
        return True

    # What is in its name still was not recorded, as where the loop ended under it: it
    # goes on, and who comes next adopts it.
    held = {(job.seq, job.run_count) for job in await around.store.held_jobs(worker.number)}
    database = str(around.database)
    left = await end_leftovers(home.path, database, around.grace, but=frozenset(held))

    for leftover in left:
        _log.error("process %d of run %d.%d cannot be ended", *leftover.words)

    return not left and not await in_thread(has_held_files, home.path)


async def _recover_for_ever(
    recovery: Recovery,
    worker: Worker,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Look after dead workers as long as ours takes work; once before it begins."""
    with Deathwatch() as deathwatch:
        while worker.how_stopped is Stop.NOT:
            try:
                deathwatch.watch(await recovery.tick())
            except StoreUnusableError:
                raise
            except (StoreError, OSError) as error:
                _log.error("cannot look for dead workers: %s", error)

            task_status.started()
            task_status = anyio.TASK_STATUS_IGNORED
            await deathwatch.next(_RECOVERY_INTERVAL)
