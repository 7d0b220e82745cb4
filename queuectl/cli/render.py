"""What every value looks like: for a person, and as JSON."""

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queuectl import escape_json, escape_line, escape_text, format_duration, format_time
from queuectl.cli import screen
from queuectl.cli.table import Column, TablePrinter

if TYPE_CHECKING:
    from queuectl import (
        Attempt,
        Cause,
        DatabaseInfo,
        Delivery,
        Event,
        Job,
        QueueStats,
        Webhook,
        WorkerInfo,
    )
    from queuectl.cli.errors import Problem

_PAGE: Final = 500
_NOTHING: Final = "-"

_JOB_COLUMNS: Final = (
    Column("ID", widest=40),
    Column("Command", is_elastic=True),
    Column("State", is_state=True),
    Column("Duration"),
    Column("Attempts"),
    Column("Reason", widest=24),
)
_DEAD_COLUMNS: Final = (
    Column("ID", widest=40),
    Column("Reason", widest=32),
    Column("Time"),
    Column("Attempts"),
    Column("Command", is_elastic=True),
)
_SCHEDULED_COLUMNS: Final = (
    Column("ID", widest=40),
    Column("Due"),
    Column("State", is_state=True),
    Column("Attempts"),
    Column("Reason", widest=24),
    Column("Command", is_elastic=True),
)
_CAUSE_COLUMNS: Final = (
    Column("Jobs"),
    Column("Latest"),
    Column("Reason", is_elastic=True),
)
_ATTEMPT_COLUMNS: Final = (
    Column("Attempt"),
    Column("Outcome", is_state=True),
    Column("Started"),
    Column("Duration"),
    Column("CPU"),
    Column("Memory"),
    Column("Output"),
    Column("Worker"),
    Column("Reason", is_elastic=True),
)
_WORKER_COLUMNS: Final = (
    Column("ID"),
    Column("State", is_state=True),
    Column("PID"),
    Column("Slots"),
    Column("Busy"),
    Column("Started"),
    Column("Host", is_elastic=True),
)


# What `info` shows only where it says something.
_USUAL: Final = {"interruptions": 0, "crashes": 0, "on_crash": "adopt", "stuck": None}


class Form(Enum):
    """How the caller wants to see what there is to see."""

    TABLE = auto()
    JSON = auto()
    IDS = auto()


def form_of(*, as_json: bool, quiet: bool = False) -> Form:
    """Return the form that the options ask for; JSON comes before ids."""
    if as_json:
        return Form.JSON

    return Form.IDS if quiet else Form.TABLE


def print_json(value: object) -> None:
    """Print a value as JSON: on one line, at a terminal spread over several."""
    text = _json(value)

    if screen.is_terminal(sys.stdout):
        text = msgspec.json.format(text, indent=2)

    screen.write_line(text)


def print_json_line(value: object) -> None:
    """Print a value as one line of JSON, at once."""
    screen.write_line(_json(value))
    screen.flush()


async def print_jobs(jobs: AsyncIterator["Job"], form: Form) -> None:
    """Print jobs as they come, however many there are."""
    await _print_listing(jobs, form, _JOB_COLUMNS, _job_row)


async def print_dead(jobs: AsyncIterator["Job"], form: Form) -> None:
    """Print the dead letter queue."""
    await _print_listing(jobs, form, _DEAD_COLUMNS, _dead_row)


async def print_scheduled(jobs: AsyncIterator["Job"], form: Form) -> None:
    """Print jobs that wait for a time to come, as they come."""
    await _print_listing(jobs, form, _SCHEDULED_COLUMNS, _scheduled_row)


def print_causes(causes: Sequence["Cause"], form: Form) -> None:
    """Print why jobs are dead."""
    from queuectl import cause_record

    if form is Form.JSON:
        print_json([cause_record(cause) for cause in causes])
    else:
        rows = [[str(cause.count), format_time(cause.latest), cause.reason] for cause in causes]
        TablePrinter(_CAUSE_COLUMNS).add(rows)


def print_database(info: "DatabaseInfo") -> None:
    """Print how large a database is, and what it is made with."""
    oldest = "" if info.oldest_event is None else f", since {format_time(info.oldest_event)}"

    _print_fields(
        {
            "path": info.path,
            "size": _size(info.size_bytes),
            "free inside": _size(info.free_bytes),
            "log": _size(info.wal_bytes),
            "large outputs": _size(info.outputs_bytes),
            "events": f"{info.events}{oldest}",
            "schema version": str(info.schema_version),
            "SQLite": info.sqlite_version,
        }
    )


def event_line(event: "Event") -> str:
    """Return an event as one line."""
    attempt = f", attempt {event.attempt}" if event.attempt else ""
    reason = f": {_safe(event.reason)}" if event.reason else ""
    at = format_time(event.at)
    return f"{event.seq}  {at}  {_safe(event.job_id)}  {event.kind}{attempt}{reason}"


def print_job_array(jobs: Iterable["Job"]) -> None:
    """Print jobs as an array of JSON, one a line."""
    array = _JsonArray()

    for job in jobs:
        array.add(job)

    array.end()


def print_ids(values: Iterable["Job | WorkerInfo | Webhook | Delivery"]) -> None:
    """Print ids only."""
    screen.write("".join(f"{value.id}\n" for value in values))


def print_job(job: "Job") -> None:
    """Print a job as one object of JSON."""
    from queuectl import job_record

    print_json(job_record(job))


def print_detail(job: "Job", attempts: Sequence["Attempt"], tail: str) -> None:
    """
    Print everything that is known about a job.

    Args:
        job: The job.
        attempts: Its runs.
        tail: The end of the output of the run that failed last.
    """
    from queuectl import job_record

    record = msgspec.structs.asdict(job_record(job))
    telling = {
        name: value for name, value in record.items() if name not in _USUAL or value != _USUAL[name]
    }

    # What keeps the job where it is stands beside where that is.
    if "stuck" in telling:
        telling = _put_behind(telling, "state", "stuck")

    _print_fields({name: _field(value) for name, value in telling.items()})

    if attempts:
        screen.write_line("")
        TablePrinter(_ATTEMPT_COLUMNS).add([_attempt_row(attempt) for attempt in attempts])

    if failed := last_failed(attempts):
        screen.write_line(f"\nlast error: attempt {failed.number}: {_safe(failed.reason)}")
        screen.write("".join(f"  {line}\n" for line in escape_text(tail).splitlines()))


def last_failed(attempts: Sequence["Attempt"]) -> "Attempt | None":
    """Return the run that failed last; one that was only given back has not failed."""
    from queuectl import OutcomeKind

    failed = [run for run in attempts if run.reason and run.outcome is not OutcomeKind.INTERRUPTED]
    return failed[-1] if failed else None


def print_workers(workers: Sequence["WorkerInfo"], form: Form) -> None:
    """Print workers."""
    from queuectl import worker_record

    match form:
        case Form.JSON:
            print_json([worker_record(worker) for worker in workers])
        case Form.IDS:
            print_ids(workers)
        case Form.TABLE:
            TablePrinter(_WORKER_COLUMNS).add([_worker_row(worker) for worker in workers])


def print_status(stats: "QueueStats") -> None:
    """Print the queue at a glance as JSON."""
    from queuectl import status_record

    print_json(status_record(stats))


def print_status_line(stats: "QueueStats") -> None:
    """Print the queue at a glance as one line of JSON."""
    from queuectl import status_record

    print_json_line(status_record(stats))


def status_text(stats: "QueueStats", stuck: "Iterable[Job]") -> str:
    """
    Return the queue at a glance as lines of text.

    Args:
        stats: The numbers, and the workers.
        stuck: Jobs that cannot go on.
    """
    # Only two commands show it, and all are to start fast.
    from queuectl.cli.lately import activity_lines

    alive = [worker for worker in stats.workers if worker.is_alive]
    slots = sum(worker.concurrency for worker in alive)
    busy = sum(worker.busy for worker in alive)
    facts = {state.value: str(count) for state, count in stats.counts.items()}
    facts["dlq"] = facts["dead"]
    facts["avg_duration_sec"] = _seconds(stats.avg_duration)
    facts["oldest_pending_sec"] = _seconds(stats.oldest_pending)
    facts["workers"] = f"{len(alive)} ({busy} of {slots} slots busy)" if alive else "0"
    lines = [f"{name:<20}{value}\n" for name, value in facts.items()]

    lines += [
        f"  {worker.id:<18}{worker.state}, pid {worker.pid} on {_safe(worker.host)},"
        f" {worker.busy} of {worker.concurrency} slots busy\n"
        for worker in stats.workers
    ]
    lines += [line for activity in stats.activity for line in activity_lines(activity)]
    lines += [f"{'stuck':<20}{job.id}: {_safe(job.stuck)}\n" for job in stuck]
    return "".join(lines)


def print_values(values: dict[str, Any], meanings: dict[str, str]) -> None:
    """Print names, values and what they mean, one a line."""
    widest = max(len(name) for name in values)
    long = max(len(str(value)) for value in values.values())

    for name, value in values.items():
        screen.write_line(f"{name:<{widest}}  {value!s:<{long}}  {meanings[name]}")


def problem_json(problem: "Problem") -> str:
    """Return an error as one line of JSON."""
    fields = {"code": int(problem.exit_code), "message": problem.message, "hint": problem.hint}
    return _json({"error": fields})


def one_line(job: "Job") -> str:
    """Return how a job ended, or how it stands, on one line."""
    took = "" if job.duration is None else f" in {format_duration(job.duration)}"
    reason = f": {_safe(job.reason)}" if job.reason else ""
    return f"{job.id} {job.state}{took}{reason}"


class _JsonArray:
    """Writes an array of jobs, one a line, without holding it."""

    def __init__(self) -> None:
        from queuectl import job_record

        self._record = job_record
        self._is_empty = True

    def add(self, job: "Job") -> None:
        screen.write("[\n" if self._is_empty else ",\n")
        screen.write(_json(self._record(job)))
        self._is_empty = False

    def end(self) -> None:
        screen.write_line("[]" if self._is_empty else "\n]")


async def _print_listing(
    jobs: AsyncIterator["Job"],
    form: Form,
    columns: Sequence[Column],
    row: Callable[["Job"], list[str]],
) -> None:
    match form:
        case Form.JSON:
            array = _JsonArray()

            async for job in jobs:
                array.add(job)

            array.end()
        case Form.IDS:
            async for job in jobs:
                screen.write_line(job.id)
        case Form.TABLE:
            printer = TablePrinter(columns)
            page: list[list[str]] = []

            async for job in jobs:
                page.append(row(job))

                if len(page) == _PAGE:
                    printer.add(page)
                    page.clear()

            printer.add(page)


def _job_row(job: "Job") -> list[str]:
    return [
        job.id,
        job.command,
        job.state.value,
        _duration(job.duration),
        f"{job.attempts}/{job.max_retries + 1}",
        f"stuck: {job.stuck}" if job.stuck else job.reason or _NOTHING,
    ]


def _dead_row(job: "Job") -> list[str]:
    return [
        job.id,
        job.reason or _NOTHING,
        format_time(job.finished_at or job.updated_at),
        str(job.attempts),
        job.command,
    ]


def _scheduled_row(job: "Job") -> list[str]:
    return [
        job.id,
        format_time(job.run_at),
        job.state.value,
        f"{job.attempts}/{job.max_retries + 1}",
        job.reason or _NOTHING,
        job.command,
    ]


def _attempt_row(attempt: "Attempt") -> list[str]:
    return [
        str(attempt.number),
        attempt.outcome or "running",
        format_time(attempt.started_at),
        _duration(attempt.duration),
        _duration(attempt.cpu),
        _size(attempt.max_rss_bytes),
        _size(attempt.output_bytes),
        attempt.worker,
        attempt.reason or _NOTHING,
    ]


def _worker_row(worker: "WorkerInfo") -> list[str]:
    return [
        worker.id,
        worker.state.value,
        str(worker.pid),
        str(worker.concurrency),
        str(worker.busy),
        format_time(worker.started_at),
        worker.host,
    ]


def _put_behind(fields: dict[str, Any], before: str, name: str) -> dict[str, Any]:
    """Return the fields with one of them moved behind another."""
    names = [key for key in fields if key != name]
    names.insert(names.index(before) + 1, name)
    return {key: fields[key] for key in names}


def _print_fields(fields: dict[str, str]) -> None:
    width = max(len(name) for name in fields) + 2

    for name, value in fields.items():
        lines = escape_text(value).split("\n")
        screen.write_line(f"{name:<{width}}{lines[0]}")
        screen.write("".join(f"{'':<{width}}{line}\n" for line in lines[1:]))


def _field(value: object) -> str:
    match value:
        case None | () | []:
            return _NOTHING
        case list() | tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _json(value: object) -> str:
    return escape_json(msgspec.json.encode(value).decode())


def _safe(text: str | None) -> str:
    return escape_line(text or "")


def _duration(duration: timedelta | None) -> str:
    return _NOTHING if duration is None else format_duration(duration)


def _seconds(duration: timedelta | None) -> str:
    return _NOTHING if duration is None else f"{duration.total_seconds():.3f}"


def _size(size: int | None) -> str:
    """Write a number of bytes for a person: ``812 B``, ``1.5 KiB``, ``3.2 GiB``."""
    if size is None:
        return _NOTHING

    step = 1024
    amount = float(size)

    for unit in ("B", "KiB", "MiB"):
        if amount < step:
            return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"

        amount /= step

    return f"{amount:.1f} GiB"
