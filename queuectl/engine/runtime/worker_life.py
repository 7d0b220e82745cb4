"""The life of a worker: its registration, its services, and its way out."""

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
from queuectl.engine.runtime.plans import EngineParts, Stop, WorkerPlan
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.recovery import Recovery
from queuectl.engine.runtime.run_folder import RunFilesPool
from queuectl.engine.runtime.runner import Runner
from queuectl.engine.runtime.services import prune_for_ever, prune_once
from queuectl.engine.runtime.sweep import Sweeper, end_leftovers, has_held_files
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.webhooks.deliverer import Deliverer
from queuectl.engine.runtime.worker import Worker

_log = logging.getLogger(__name__)

# Seconds between two looks for dead workers.
_RECOVERY_INTERVAL: Final = 1.0


async def run_worker(
    parts: EngineParts,
    plan: WorkerPlan,
    *,
    runner: Runner,
    started: Callable[[Worker], Awaitable[Job | None]],
) -> Stop:
    """
    Register a worker, let it work until it is stopped, and take it off again.

    Args:
        parts: What it works with.
        plan: What it is to be.
        runner: Starts its processes.
        started: Called when it is registered, before it works. May return a
            job that it has claimed for the worker; then it runs that alone.

    Returns:
        How it was stopped.
    """
    home = Home(parts.folder)

    try:
        # Once asked for it may be made: a row that nobody takes off again.
        with anyio.CancelScope(shield=True):
            number = await _register(parts, home, plan)
    except BaseException:
        home.remove()
        raise

    recorder = Recorder(
        parts.store, parts.clock, parts.folder, parts.tracing, gives_back=plan.gives_back
    )
    worker = _make_worker(
        parts, plan, number=number, executor=_make_executor(parts, home, recorder, runner)
    )
    recovery = _make_recovery(parts, recorder, worker)
    deliverer = Deliverer(parts, number)

    try:
        async with anyio.create_task_group() as services:
            if plan.recovers:
                await services.start(_recover_for_ever, recovery, worker)
                services.start_soon(prune_for_ever, parts.store, parts.clock)
                services.start_soon(deliverer.serve)

            first = await started(worker)

            if not plan.recovers:
                # Beside the job, which takes longer; it shares a commit with what comes.
                services.start_soon(prune_once, parts.store, parts.clock)

            await worker.run(first)

            if plan.recovers:
                await deliverer.end(leaves=worker.how_stopped > Stop.DRAIN)

            services.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _take_off(parts, worker, home)

    return worker.how_stopped


async def _register(parts: EngineParts, home: Home, plan: WorkerPlan) -> int:
    return await parts.store.register_worker(
        token=home.path.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        lock_file=home.identity(),
        pipe=parts.bus.listen(),
        can_restart=plan.can_restart,
        concurrency=plan.concurrency,
        now=parts.clock.now(),
    )


def _make_executor(parts: EngineParts, home: Home, recorder: Recorder, runner: Runner) -> Executor:
    return Executor(
        recorder=recorder,
        runner=runner,
        clock=parts.clock,
        files=RunFilesPool(home.path, count=home.count_sets),
        grace=parts.grace,
        home=home.path,
        database=parts.folder.database,
        tracing=parts.tracing,
    )


def _make_worker(
    parts: EngineParts, plan: WorkerPlan, *, number: int, executor: Executor
) -> Worker:
    return Worker(
        number=number,
        concurrency=plan.concurrency,
        store=parts.store,
        executor=executor,
        bus=parts.bus,
        clock=parts.clock,
        until_settled=plan.until_settled,
        can_restart=plan.can_restart,
        gives_back=plan.gives_back,
    )


def _make_recovery(parts: EngineParts, recorder: Recorder, worker: Worker) -> Recovery:
    return Recovery(
        store=parts.store,
        recorder=recorder,
        folder=parts.folder,
        clock=parts.clock,
        worker=worker.number,
        adopt=worker.adopt,
        is_stopping=lambda: worker.how_stopped is not Stop.NOT,
    )


async def _take_off(parts: EngineParts, worker: Worker, home: Home) -> None:
    """End what is left of the worker's runs, unless a successor takes it; take it off the list."""
    name = worker_name(worker.number)
    is_gone = False

    try:
        is_clean = await _end_runs(parts, worker, home)
        is_gone = await parts.store.unregister_worker(worker.number) and is_clean
    except (StoreError, EngineClosedError, OSError) as error:
        _log.error("cannot take worker %s off the list: %s", name, error)
    finally:
        # What others are to settle or to sweep, they find by the folder.
        if is_gone:
            home.remove()
        else:
            home.let_go()

    try:
        # The folder of a worker whose last run was adopted here, too.
        await Sweeper(parts.store, parts.folder).sweep()
    except (StoreError, EngineClosedError, OSError) as error:
        _log.error("cannot remove what dead workers left: %s", error)


async def _end_runs(parts: EngineParts, worker: Worker, home: Home) -> bool:
    """End what is left of a worker's runs; return whether nothing is, seen or not."""
    if worker.how_stopped is Stop.LEAVE:
        return False

    if not worker.has_run:
        return True

    # What is in its name still was not recorded, as where the loop ended under it: it
    # goes on, and who comes next adopts it.
    held = {job.run_key for job in await parts.store.held_jobs(worker.number)}
    database = str(parts.folder.database)
    left = await end_leftovers(home.path, database, parts.grace, but=frozenset(held))
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
