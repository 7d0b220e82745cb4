"""
Planted defects: the harness is evidence only if it finds them.

Each breaks the engine of the process that it is planted into, in the way in which
queues like this one are often broken.
"""

import asyncio
import copy
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import anyio

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.runtime import outcomes, proc
from queuectl.engine.runtime.adoption import Orphan
from queuectl.engine.runtime.executor import Executor
from queuectl.engine.runtime.marks import MARK_VARIABLE
from queuectl.engine.runtime.outcomes import NEVER_BEGAN, run_outcome
from queuectl.engine.runtime.process import ShellProcess, ShellRunner
from queuectl.engine.runtime.reaper import ProcessResult, Watched, named_result
from queuectl.engine.runtime.recording import EndedRun
from queuectl.engine.runtime.recovery import Recovery
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunningProcess, RunRequest
from queuectl.engine.runtime.settling import Settler
from queuectl.engine.runtime.tree import Listing, Members, RunTree
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, SHELL, wrap
from queuectl.engine.store.base import WorkerRow
from queuectl.engine.store.sqlite import statements

# How long a spawn takes on a machine that is very busy, in seconds.
_SLOW_SPAWN: Final = 1.0


def finish_by_id_only() -> None:
    """Take any result for a job that runs, whichever run and worker it comes from."""
    statements.SQL["held_job"] = "SELECT * FROM jobs WHERE seq = :seq AND state = 'processing'"
    _take_out("finish_jobs", "AND jobs.run_count = ended.run\n    AND jobs.worker = ended.worker")
    _take_out("held_runs", "AND jobs.run_count = asked.run AND jobs.worker = asked.worker")
    # Each is told that it is the one that is held.
    _take_out("held_runs", "jobs.run_count", "asked.run")
    # A queue that has no fence keeps no history of runs that could trip over it.
    _take_out("insert_runs", "INSERT INTO", "INSERT OR REPLACE INTO")
    _take_out("insert_outputs", "INSERT INTO", "INSERT OR REPLACE INTO")


def _take_out(name: str, part: str, instead: str = "") -> None:
    """Replace a part of a query that must be there."""
    if part not in statements.SQL[name]:
        raise ValueError(f"{name} has no {part}")

    statements.SQL[name] = statements.SQL[name].replace(part, instead, 1)


def give_back_without_asking() -> None:
    """Give a dead worker's runs back at once, whoever may still hold their locks."""

    async def settle(self: Recovery, worker: WorkerRow, *, is_whole: bool) -> bool:  # noqa: ARG001
        jobs = await self._store.held_jobs(worker.number)
        await self._store.release(jobs, now=self._clock.now(), interrupted=True)
        return await self._store.unregister_worker(worker.number)

    _replace(Recovery, "_settle", settle)


def spawn_without_shield() -> None:
    """
    Let whoever ends a run cancel its spawn.

    asyncio kills the shell then, and nobody knows what that has started.
    """
    spawns: dict[tuple[int, int], anyio.CancelScope] = {}
    stop, run_with = Run.stop, Executor._run_with

    def stop_spawn(self: Run, reason: StopReason, words: str | None = None) -> None:
        stop(self, reason, words)

        if self.key in spawns:
            spawns[self.key].cancel()

    async def run_unshielded(
        self: Executor,
        files: RunFiles,
        run: Run,
        started_at: datetime,
        process_ended: Callable[[], None],
    ) -> None:
        started: RunningProcess | None = None

        with anyio.CancelScope() as scope:
            spawns[run.key] = scope
            started = await _spawn(self._runner, self._request(run, files))

        del spawns[run.key]

        if started is not None:
            own = copy.copy(self)
            own._runner = _Started(started)
            await run_with(own, files, run, started_at, process_ended)
            return

        process_ended()
        outcome = run_outcome(run, named_result(None))
        ended = EndedRun(job=run.job, outcome=outcome, started_at=started_at)
        await self._recorder.record(ended)

    _replace(Run, "stop", stop_spawn)
    _replace(Executor, "_run_with", run_unshielded)


async def _spawn(runner: Any, request: RunRequest) -> RunningProcess:
    started: RunningProcess = await runner.start(request)
    try:
        await anyio.sleep(_SLOW_SPAWN)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(started.pid, signal.SIGKILL)
        raise

    return started


class _Started:
    """Starts nothing: it has been started."""

    def __init__(self, running: RunningProcess) -> None:
        self._running = running

    async def start(self, _: RunRequest) -> RunningProcess:
        return self._running


def capture_through_pipes() -> None:
    """Have a run write into a pipe that ends with its worker."""
    copying: set[asyncio.Task[None]] = set()

    async def start(self: ShellRunner, request: RunRequest) -> ShellProcess:
        code, in_variable = wrap(
            request.command,
            request.note,
            request.files.exit_path,
            folder=request.cwd,
            refusal="not begun",
            trap_is_safe=True,
        )
        env = {**request.env, MARK_VARIABLE: str(request.mark)}

        if in_variable:
            env[COMMAND_VARIABLE] = request.command

        with anyio.CancelScope(shield=True):
            started = await Watched(
                asyncio.create_subprocess_shell(  # noqa: TID251 (a defect on purpose)
                    code,
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=STDOUT,
                    cwd=request.cwd,
                    env=env,
                    executable=SHELL,
                    start_new_session=True,
                    pass_fds=(request.files.lock,),
                ),
                self._reaper,
            )

        assert started.stdout is not None
        task = asyncio.create_task(_copy(started.stdout, os.dup(request.files.output)))
        copying.add(task)
        task.add_done_callback(copying.discard)
        return ShellProcess(started, self._reaper.take(started.pid), request)

    _replace(ShellRunner, "start", start)


async def _copy(source: asyncio.StreamReader, target: int) -> None:
    try:
        while chunk := await source.read(65536):
            os.write(target, chunk)
    finally:
        os.close(target)


def adopt_by_number_alone() -> None:
    """Take whatever has the number of a run's shell for that shell."""

    def look(self: RunTree, _: Listing | None = None) -> Members:
        found = None if self._leader is None else proc.find_process(self._leader)
        return Members(ours=() if found is None else (found,), is_held=found is not None)

    _replace(RunTree, "look", look)


def forget_exit_codes() -> None:
    """Give back, uncharged, what ended while its worker was dead, and forget its exit code."""

    async def record_left(self: Settler, job: Job, *_: Any, **__: Any) -> None:
        await self._record(job, None, NEVER_BEGAN)

    _replace(Settler, "_record_left", record_left)


def guess_what_is_unknown() -> None:
    """Say of a run of which nothing is known that it failed, as asyncio does, with 255."""
    guessed = Outcome(kind=OutcomeKind.FAILED, exit_code=255, reason="exit_code=255")
    honest = outcomes.exit_outcome

    def exit_outcome(result: ProcessResult) -> Outcome:
        outcome = honest(result)
        return guessed if outcome.kind is OutcomeKind.LOST else outcome

    outcomes.exit_outcome = exit_outcome


def say_that_the_adopted_timed_out() -> None:
    """Say of every run that was adopted and came to its end that its time was up."""
    adopt = Executor.adopt
    late = Outcome(kind=OutcomeKind.TIMED_OUT, reason="timeout")

    async def adopt_and_lie(
        self: Executor, run: Run, orphan: Orphan, *, process_ended: Callable[[], None]
    ) -> None:
        liar: Any = copy.copy(self)

        async def judge(*given: Any) -> Any:
            _, took = await self._judge(*given)
            return late, took

        liar._judge = judge
        await adopt(liar, run, orphan, process_ended=process_ended)

    _replace(Executor, "adopt", adopt_and_lie)


def _replace(owner: type, name: str, broken: Callable[..., Any]) -> None:
    """Put a broken method in the place of one that must be there."""
    if name not in vars(owner):
        raise AttributeError(f"{owner.__name__} has no {name} to break")

    setattr(owner, name, broken)


DEFECTS: Final[dict[str, Callable[[], None]]] = {
    "finish-by-id-only": finish_by_id_only,
    "give-back-without-asking": give_back_without_asking,
    "spawn-without-shield": spawn_without_shield,
    "capture-through-pipes": capture_through_pipes,
    "adopt-by-number-alone": adopt_by_number_alone,
    "forget-exit-codes": forget_exit_codes,
    "guess-what-is-unknown": guess_what_is_unknown,
    "say-that-the-adopted-timed-out": say_that_the_adopted_timed_out,
}


def plant(name: str) -> None:
    """Break the engine of this process; an empty name leaves it whole."""
    if name:
        DEFECTS[name]()
