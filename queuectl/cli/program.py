"""The program: the options before the commands, the commands, and how errors are shown."""

import traceback
from typing import Annotated, Final

import typer

from queuectl import __version__
from queuectl.cli import errors, render, screen
from queuectl.cli.catalogue import Program
from queuectl.cli.session import Session

_EPILOG: Final = """
\b
Examples:
  queuectl enqueue '{"id": "job1", "command": "echo hi"}'
  queuectl enqueue --priority 200 -- ffmpeg -i in.mov out.mp4
  queuectl worker start --count 4
  queuectl status

\b
Exit codes:
  0 ok, 1 failure, 2 usage or bad input, 3 no such job, attempt or worker,
  4 conflict, 5 timed out waiting, 6 a waited-for job did not complete,
  7 the database is locked, damaged, was replaced or is newer than the program,
  130 interrupted
"""

INTERRUPTED: Final = errors.ExitCode.INTERRUPTED

app: typer.Typer = typer.Typer(
    name="queuectl",
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        screen.write_line(f"queuectl {__version__}")
        raise typer.Exit


@app.callback()
def take_global_options(
    context: typer.Context,
    database: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="PATH",
            help="The database; else QUEUECTL_DB; else ~/.queuectl/queue.db.",
        ),
    ] = None,
    is_debugging: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Queue shell commands durably, run them, and retry what fails."""
    if database is not None and "://" in database:
        raise errors.UsageError(
            f"not a file: {database}", hint="this queuectl keeps its queue in SQLite files only"
        )

    context.obj = Session(database=database, is_debugging=is_debugging)


def execute(arguments: list[str]) -> int:
    """Run one command, show its error where it has one, and return the exit code."""
    command = typer.main.get_command(app)

    try:
        result = command.main(arguments, prog_name="queuectl", standalone_mode=False)
        screen.flush()
    except Exception as raised:  # noqa: BLE001 (whatever it is, it is shown)
        error = errors.only_one(raised)

        if not isinstance(error, screen.OutputClosedError):
            return _show(error, arguments)

        # Whoever read has seen enough, as head does.
        screen.abandon()
        return errors.ExitCode.OK

    return result if isinstance(result, int) else errors.ExitCode.OK


def _show(error: BaseException, arguments: list[str]) -> int:
    """Show an error, and return the exit code."""
    before_argv = arguments[: arguments.index("--")] if "--" in arguments else arguments
    problem = errors.explain(error)

    try:
        # What was printed before comes before, where both go to one place.
        screen.flush()
    except (screen.OutputClosedError, errors.CommandError):
        screen.abandon()

    try:
        if "--debug" in before_argv:
            screen.note("".join(traceback.format_exception(error)))

        screen.note(_words_for(problem, as_json="--json" in before_argv))
    except (screen.OutputClosedError, errors.CommandError):
        screen.abandon()

    return problem.exit_code


def _words_for(problem: errors.Problem, *, as_json: bool) -> str:
    if as_json:
        return render.problem_json(problem)

    if problem.is_help:
        return problem.message

    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    return f"error: {problem.message}{hint}"
