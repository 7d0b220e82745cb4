"""``enqueue``: add jobs, given as JSON, as a command, or as words."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
import typer

from queuectl.cli import options, progress, render, screen
from queuectl.cli.errors import UsageError
from queuectl.cli.session import tell_no_worker, with_engine

if TYPE_CHECKING:
    from queuectl import Job, JobSpec, QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl enqueue '{"id": "job1", "command": "echo hi"}'
  queuectl enqueue --id job1 --command "echo hi | wc -c"
  queuectl enqueue --delay 10m -- rsync -a src/ dst/
  queuectl enqueue --file jobs.jsonl
  generate-jobs | queuectl enqueue --priority 50 -
"""

_USAGE: Final = (
    'for example: queuectl enqueue \'{"command": "echo hi"}\'; queuectl enqueue -- echo hi;'
    ' queuectl enqueue --command "echo hi"; queuectl enqueue - < jobs.jsonl'
)

# An input of this many bytes, or jobs, takes long enough to show that it is taken.
_LARGE: Final = 1_000_000
_MANY: Final = 10_000

app: typer.Typer = typer.Typer()

_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JSON | - | -- ARGV...]",
        help="One object, an array, or - for an array or one object a line on stdin;"
        " behind -- a program and its arguments.",
        show_default=False,
    ),
]
_File = Annotated[
    str | None, typer.Option("--file", "-f", metavar="F", help="Read JSON from this file.")
]
_Command = Annotated[
    str | None, typer.Option("--command", "-c", metavar="CMD", help="The shell command.")
]


class _Source(NamedTuple):
    """Where jobs may come from; exactly one of these is to be given."""

    words: list[str]
    argv: list[str] | None
    file: str | None
    command: str | None


class _Request(NamedTuple):
    """
    What is to be enqueued.

    Attributes:
        specs: The jobs.
        is_bulk: Whether it was given as several, however many they are.
    """

    specs: "list[JobSpec]"
    is_bulk: bool


@app.command("enqueue", cls=options.ArgvCommand, epilog=_EXAMPLES)
def enqueue(
    context: typer.Context,
    words: _Words = None,
    file: _File = None,
    command: _Command = None,
    id: options.Id = None,
    priority: options.Priority = None,
    max_retries: options.MaxRetries = None,
    backoff_base: options.BackoffBase = None,
    timeout: options.Timeout = None,
    on_crash: options.OnCrash = None,
    max_output_bytes: options.MaxOutputBytes = None,
    run_at: options.RunAt = None,
    delay: options.Delay = None,
    cwd: options.Cwd = None,
    env: options.Env = None,
    tag: options.Tags = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Add one job, or many at once: all of them or none.

    Options beside JSON are defaults: they fill in what a job does not say
    itself. An array, a file and stdin count as many, even with one job in them.
    """
    said: dict[str, Any] = {
        "id": id,
        "priority": priority,
        "max_retries": max_retries,
        "backoff_base": backoff_base,
        "timeout": timeout,
        "on_crash": on_crash,
        "max_output_bytes": max_output_bytes,
        "run_at": run_at,
        "delay": delay,
        "cwd": cwd,
        "env": options.parse_env(env),
        "tags": tuple(tag or ()),
    }
    source = _Source(words or [], options.argv_of(context), file, command)
    request, jobs, has_worker = _enqueue(context, source, said)
    _print(jobs, request, render.form_of(as_json=as_json, quiet=quiet))

    if jobs and not has_worker and not quiet:
        tell_no_worker(context)


def _enqueue(
    context: typer.Context, source: _Source, said: dict[str, Any]
) -> "tuple[_Request, list[Job], bool]":
    """Enqueue what was given; return that, the jobs, and whether a worker is alive."""

    async def work(engine: "QueueEngine") -> "tuple[list[Job], bool]":
        jobs = await engine.enqueue_many(request.specs)
        return jobs, engine.has_live_worker()

    with progress.bar() as bar:
        request = _fill_in(_read(source, bar), said)

        if len(request.specs) >= _MANY:
            bar.show(f"writing {len(request.specs)} jobs")

        return request, *with_engine(context, work)


def _read(source: _Source, bar: progress.Bar) -> _Request:
    """Return the jobs that were given, in whatever way."""
    from queuectl import JobSpec

    ways = [
        bool(source.words),
        source.argv is not None,
        source.file is not None,
        source.command is not None,
    ]

    if sum(ways) != 1:
        message = "no job was given" if not any(ways) else "jobs were given in several ways"
        raise UsageError(message, hint=_USAGE)

    if source.command is not None:
        return _Request([JobSpec(command=source.command)], is_bulk=False)

    if source.argv is not None:
        if not source.argv:
            raise UsageError("no command behind --", hint=_USAGE)

        return _Request([JobSpec(command=options.join_argv(source.argv))], is_bulk=False)

    if source.file is not None:
        return _parse_bulk(_read_file(source.file), bar)

    if source.words == ["-"]:
        return _parse_bulk(_read_stdin(bar), bar)

    return _parse_words(source.words)


def _parse_words(words: list[str]) -> _Request:
    """Parse JSON that stands on the command line itself."""
    from queuectl import parse_jobs

    text = words[0].strip()

    if not text and len(words) == 1:
        raise UsageError("the JSON is empty", hint=_USAGE)

    if not text.startswith(("{", "[")) or len(words) > 1:
        what = "not a JSON object or array" if len(words) == 1 else "more than one argument"
        shown = options.join_argv(words)
        # One word with spaces is a command line; as argv it would be a program's name.
        is_line = len(words) == 1 and " " in words[0]
        form = f"--command {shown}" if is_line else f"-- {shown}"
        raise UsageError(
            f"{what}: {shown}", hint=f"to run it as a command: queuectl enqueue {form}"
        )

    specs = parse_jobs(text.encode(errors="surrogateescape"))
    return _Request(specs, is_bulk=text.startswith("["))


def _parse_bulk(content: bytes, bar: progress.Bar) -> _Request:
    from queuectl import parse_jobs

    if len(content) >= _LARGE:
        bar.show("checking")

    return _Request(parse_jobs(content), is_bulk=True)


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        hint = "standard input is read by: queuectl enqueue -" if name == "-" else None
        raise UsageError(f"cannot read {name}: {error.strerror}", hint=hint) from error


def _read_stdin(bar: progress.Bar) -> bytes:
    if screen.is_terminal(sys.stdin):
        screen.note("reading JSON from the terminal; Ctrl-D on an empty line ends it")
        return sys.stdin.buffer.read()

    first = sys.stdin.buffer.read(_LARGE)

    if len(first) == _LARGE:
        bar.show("reading")

    return first + sys.stdin.buffer.read()


def _fill_in(request: _Request, said: dict[str, Any]) -> _Request:
    """Give the jobs what the options say and they do not say themselves."""
    said = {field: value for field, value in said.items() if value not in (None, (), {})}

    if not said:
        return request

    if "id" in said and request.is_bulk:
        raise UsageError("--id is for one job", hint="give each job its own id in the JSON")

    return request._replace(specs=[_filled_in(spec, said) for spec in request.specs])


def _filled_in(spec: "JobSpec", said: dict[str, Any]) -> "JobSpec":
    own = {
        field: value
        for field, value in msgspec.structs.asdict(spec).items()
        if value not in (None, (), {})
    }

    if "id" in own and own["id"] != said.get("id", own["id"]):
        raise UsageError(f"two ids: --id {said['id']}, and {own['id']} in the JSON")

    both = {**said, **own}

    # Either of these says when.
    if "run_at" in own or "delay" in own:
        both["run_at"], both["delay"] = own.get("run_at"), own.get("delay")

    if "env" in both:
        both["env"] = {**said.get("env", {}), **own.get("env", {})}

    if "tags" in both:
        both["tags"] = (*own.get("tags", ()), *said.get("tags", ()))

    return msgspec.structs.replace(spec, **both)


def _print(jobs: "list[Job]", request: _Request, form: render.Form) -> None:
    match form:
        case render.Form.JSON if request.is_bulk:
            render.print_job_array(jobs)
        case render.Form.JSON:
            render.print_job(jobs[0])
        case render.Form.IDS:
            render.print_ids(jobs)
        case render.Form.TABLE if len(jobs) == 1:
            screen.write_line(f"Enqueued job: {jobs[0].id}")
        case render.Form.TABLE:
            screen.write_line(f"Enqueued {len(jobs)} jobs")
