"""``worker``: start, stop and list workers."""

import logging
import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import anyio
import typer

from queuectl import WorkerNotFoundError, escape_line
from queuectl.cli import log, metrics, options, progress, render, screen
from queuectl.cli.errors import CommandError, ExitCode, explain, only_one
from queuectl.cli.session import session_of, start_worker_words, with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine, WorkerInfo, WorkerRecord
    from queuectl.cli.launch import Launch
    from queuectl.metrics import Place

_START_EXAMPLES: Final = """
\b
Examples:
  queuectl worker start --count 4
  queuectl worker start --count 4 --detach
  queuectl worker start --drain
  queuectl worker start --metrics-port 9464

Ctrl-C and TERM stop it: the first time it takes no more jobs and waits for those
that run, the second time it ends them and gives them back, the third time it leaves
at once.
"""

_log = logging.getLogger(__name__)

# What may keep a worker from being replaced, as others see it.
_NOT_REPLACED: Final = {"draining", "stopping", "unresponsive"}

app: typer.Typer = typer.Typer(
    name="worker", help="Start, stop and list workers, which run the jobs.", no_args_is_help=True
)

_Slots = Annotated[
    int, typer.Option("--count", "-c", min=1, metavar="N", help="How many jobs to run at once.")
]
_Processes = Annotated[
    int,
    typer.Option("--processes", min=1, metavar="P", help="Start P processes of N slots each."),
]


@app.command("start", epilog=_START_EXAMPLES)
def start(
    context: typer.Context,
    count: _Slots = 1,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start it in the background, with a log file.")
    ] = False,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="End when nothing is due, running or waiting for a retry; do not wait for"
            " jobs with a later run_at.",
        ),
    ] = False,
    processes: _Processes = 1,
    metrics_port: metrics.Port = None,
    metrics_host: metrics.Host = None,
    as_json: options.AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log only what is amiss; with --detach, ids only.")
    ] = False,
) -> None:
    """
    Start a worker, which runs jobs until it is stopped.

    It stays in the foreground and logs a line an event to stderr. With --json
    it prints itself to stdout, as an object on a line, as soon as it is there.
    """
    plan = Plan(
        slots=count,
        drain=drain,
        as_json=as_json,
        quiet=quiet,
        metrics=metrics.place_of(metrics_port, metrics_host),
    )

    if detach:
        _start_detached(context, plan, processes)
    elif processes > 1:
        _start_several(context, plan, processes)
    else:
        log.show_log(is_debugging=session_of(context).is_debugging, is_quiet=quiet)

        with _told_in_the_log(plan, is_debugging=session_of(context).is_debugging):
            with_engine(context, lambda engine: _work(engine, plan), then=_make_room)


class Plan(NamedTuple):
    """
    What a worker is to do.

    Attributes:
        slots: How many jobs it runs at once.
        drain: Whether it ends when the queue is settled.
        as_json: Whether it is shown as JSON.
        quiet: Whether it tells of troubles only.
        metrics: Where it serves the metrics, None where it does not.
    """

    slots: int
    drain: bool
    as_json: bool
    quiet: bool
    metrics: "Place | None"


@contextmanager
def _told_in_the_log(plan: Plan, *, is_debugging: bool) -> Iterator[None]:
    """Have what ends a worker that a program started be a line of its log like the others."""
    try:
        yield
    except Exception as raised:
        error = only_one(raised)

        if not plan.as_json or isinstance(error, screen.OutputClosedError):
            raise

        problem = explain(error)
        hint = f"; {problem.hint}" if problem.hint else ""
        trace = raised if is_debugging else None
        _log.error("the worker ends: %s%s", problem.message, hint, exc_info=trace)
        raise typer.Exit(problem.exit_code) from raised


def _make_room(is_wanted: bool) -> None:
    """Let a new worker take this process, where that was asked for; it adopts what runs."""
    from queuectl.cli import launch

    if is_wanted:
        _log.info("making room for a successor")
        launch.replace_process()


async def _work(engine: "QueueEngine", plan: Plan) -> bool:
    """Be a worker, until told to stop; return whether to make room for a successor."""
    from queuectl.cli import launch

    # A successor has runs to look after, whoever took its port meanwhile.
    serving = metrics.served(engine, plan.metrics, or_later=launch.is_successor())

    async with serving, anyio.create_task_group() as tasks:

        def started(worker_id: str) -> None:
            slots = "1 slot" if plan.slots == 1 else f"{plan.slots} slots"
            _log.info("worker %s started: pid %d, %s", worker_id, os.getpid(), slots)

            if plan.as_json:
                tasks.start_soon(_print_worker, engine, worker_id)

        if plan.drain:
            async with progress.draining_bar(engine):
                is_replaced = await engine.drain(
                    plan.slots, handle_signals=True, can_restart=True, started=started
                )
        else:
            is_replaced = await engine.run(
                plan.slots, handle_signals=True, can_restart=True, started=started
            )

        tasks.cancel_scope.cancel()

    return is_replaced


async def _print_worker(engine: "QueueEngine", worker_id: str) -> None:
    """Print which worker this is, for whoever started it."""
    from queuectl import worker_record

    [worker] = [worker for worker in await engine.list_workers() if worker.id == worker_id]

    try:
        render.print_json_line(worker_record(worker))
    except screen.OutputClosedError:
        # Whoever wanted to know has left; that is no reason to stop working.
        screen.abandon()


def _start_detached(context: typer.Context, plan: Plan, processes: int) -> None:
    from queuectl.cli import launch

    started: list[launch.Detached] = []
    order, log_folder = _prepare(context, plan, processes)

    for worker in launch.detach(order, log_folder):
        if worker is None:
            screen.note("there was nothing to drain; the worker has ended")
            continue

        started.append(worker)

        if plan.quiet and not plan.as_json:
            screen.write_line(worker.id)
        elif not plan.as_json:
            screen.write_line(
                f"Started worker: {worker.id}, pid {worker.pid}, log {escape_line(worker.log_file)}"
            )

    if plan.as_json:
        render.print_json(started if processes > 1 or not started else started[0])


def _start_several(context: typer.Context, plan: Plan, processes: int) -> None:
    from queuectl.cli import launch

    def ready(worker: "WorkerRecord") -> None:
        if plan.as_json:
            render.print_json_line(worker)

    order, _ = _prepare(context, plan, processes)
    raise typer.Exit(launch.supervise(order, ready))


def _prepare(context: typer.Context, plan: Plan, processes: int) -> "tuple[Launch, Path]":
    """
    Open the database, so that what is wrong with it is told before anything is started.

    And see that the port of the metrics is free.

    Returns:
        The order for `queuectl.cli.launch`, and the folder for log files.
    """
    from queuectl.cli.launch import Launch

    async def work(engine: "QueueEngine") -> "tuple[Launch, Path]":
        await metrics.check(plan.metrics)
        order = Launch(
            database=engine.database,
            processes=processes,
            count=plan.slots,
            drain=plan.drain,
            quiet=plan.quiet,
            debug=session_of(context).is_debugging,
            metrics=metrics.as_options(plan.metrics),
        )
        return order, engine.log_folder

    return with_engine(context, work)


@app.command("stop")
def stop(
    context: typer.Context,
    worker_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Which, as w12; else all.")
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="End running jobs and give them back; else wait for them."),
    ] = False,
    timeout: options.WaitTimeout = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Stop workers of any process, and wait until they are gone."""
    workers, others = with_engine(
        context,
        lambda engine: _ordered(
            context,
            engine,
            engine.stop_workers(worker_ids or None, now=now, timeout=timeout),
        ),
    )

    if as_json or quiet:
        render.print_workers(workers, render.form_of(as_json=as_json, quiet=quiet))
        return

    if workers:
        screen.write("".join(f"Stopped worker: {worker.id}\n" for worker in workers))
    else:
        screen.note("no worker is alive")

    if not worker_ids and not any(worker.is_alive for worker in others):
        _tell_what_is_left(context, others)


@app.command("restart")
def restart(
    context: typer.Context,
    worker_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID...]", help="Which, as w12; else all."),
    ] = None,
    timeout: options.WaitTimeout = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Replace workers by new ones, without touching what they run.

    Each process starts again in place, with the program as it is installed now, and
    goes on with the jobs that run. It prints the new workers. A worker that is part of
    another program, as of queuectl run, is left as it is.
    """
    workers, others = with_engine(
        context,
        lambda engine: _ordered(
            context, engine, engine.restart_workers(worker_ids or None, timeout=timeout)
        ),
    )

    if as_json or quiet:
        render.print_workers(workers, render.form_of(as_json=as_json, quiet=quiet))
    elif workers:
        screen.write(
            "".join(f"Started worker: {worker.id}, pid {worker.pid}\n" for worker in workers)
        )
    elif ending := [worker for worker in others if worker.state in _NOT_REPLACED]:
        for worker in ending:
            screen.note(
                f"worker {worker.id} is {worker.state}, so it is not replaced; start another with:"
                f" {start_worker_words(context)}"
            )
    else:
        screen.note("no worker is alive that could be replaced")
        _tell_what_is_left(context, others)


async def _ordered(
    context: typer.Context, engine: "QueueEngine", order: "Awaitable[list[WorkerInfo]]"
) -> "tuple[list[WorkerInfo], list[WorkerInfo]]":
    """
    Wait for what an order did.

    Returns:
        The workers that it was about, and those that are on the list afterwards.

    Raises:
        CommandError: It names a worker that is dead.
    """
    try:
        workers = await order
    except WorkerNotFoundError as error:
        _refuse_dead(context, error.worker, await engine.list_workers())
        raise

    return workers, await engine.list_workers()


def _refuse_dead(context: typer.Context, worker_id: str, workers: "Sequence[WorkerInfo]") -> None:
    """Say of a worker that is on the list that it is dead, rather than that it is not there."""
    dead = [worker for worker in workers if worker.id == worker_id and not worker.is_alive]
    has_heir = any(worker.is_alive for worker in workers)
    start = f"start a worker, which settles what it left: {start_worker_words(context)}"

    for worker in dead:
        raise CommandError(
            f"worker {worker.id} is dead{_and_left(worker)}",
            exit_code=ExitCode.NOT_FOUND,
            hint="the live workers settle what it left" if has_heir else start,
        )


def _tell_what_is_left(context: typer.Context, workers: "Sequence[WorkerInfo]") -> None:
    """Say which jobs go on, or wait to be settled, while nobody looks after them."""
    dead = [worker for worker in workers if not worker.is_alive and worker.busy]

    for worker in dead:
        screen.note(f"worker {worker.id} is dead{_and_left(worker)}")

    if dead:
        screen.note(
            "a worker takes them over, and ends those that were cancelled; start one with:"
            f" {start_worker_words(context)}"
        )


def _and_left(worker: "WorkerInfo") -> str:
    if not worker.busy:
        return ""

    return f", and left {worker.busy} running {'job' if worker.busy == 1 else 'jobs'}"


@app.command("list")
def list_workers(
    context: typer.Context, as_json: options.AsJson = False, quiet: options.Quiet = False
) -> None:
    """List workers of every process, and dead ones with jobs left."""
    workers = with_engine(context, lambda engine: engine.list_workers())
    render.print_workers(workers, render.form_of(as_json=as_json, quiet=quiet))
