"""``db``: the database file."""

from typing import TYPE_CHECKING, Annotated

import typer

from queuectl import StoreDamagedError, database_record, escape_line
from queuectl.cli import options, render, screen
from queuectl.cli.errors import CommandError, ExitCode
from queuectl.cli.session import make_engine, with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine

app: typer.Typer = typer.Typer(
    name="db", help="Find, check, back up and tidy the database.", no_args_is_help=True
)


@app.command("path")
def show_path(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Print where the database is."""
    path = str(make_engine(context).database)

    if as_json:
        render.print_json({"path": path})
    else:
        screen.write_line(escape_line(path))


@app.command("info")
def show_info(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Print how large the database is, and what it is made with."""
    _make_sure_it_is_there(context)
    info = with_engine(context, lambda engine: engine.database_info())

    if as_json:
        render.print_json(database_record(info))
    else:
        render.print_database(info)


@app.command("check")
def check(context: typer.Context, as_json: options.AsJson = False) -> None:
    """
    Read the whole database, and tell what is wrong with it.

    Where something is, the exit code is 7.
    """
    _make_sure_it_is_there(context)
    report = with_engine(context, lambda engine: engine.check())

    if as_json:
        render.print_json(report)
    elif not report.problems:
        screen.write_line(f"ok: schema version {report.schema_version}, {report.driver}")
    else:
        screen.write("".join(f"{escape_line(text)}\n" for text in report.problems))

    if report.problems:
        raise CommandError(
            f"the database has {len(report.problems)} problems",
            exit_code=ExitCode.DATABASE,
            hint=StoreDamagedError.remedy(make_engine(context).database),
        )


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
    as_json: options.AsJson = False,
) -> None:
    """Write a copy of the database as it stands, while it is in use."""
    _make_sure_it_is_there(context)
    with_engine(context, lambda engine: engine.backup(file))

    if as_json:
        render.print_json({"backup": file})
    else:
        screen.write_line(escape_line(file))


@app.command("vacuum")
def vacuum(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Give the space of deleted jobs back to the file system."""
    _make_sure_it_is_there(context)
    path = make_engine(context).database
    before = path.stat().st_size
    with_engine(context, lambda engine: engine.vacuum())
    after = path.stat().st_size

    if as_json:
        render.print_json({"bytes_before": before, "bytes_after": after})
    else:
        screen.write_line(f"{before} bytes before, {after} bytes after")


@app.command("migrate")
def migrate(context: typer.Context, as_json: options.AsJson = False) -> None:
    """
    Bring the database up to date, and print its schema version.

    Every command does so when it opens the database.
    """

    async def work(engine: "QueueEngine") -> int:
        return (await engine.check()).schema_version

    version = with_engine(context, work)

    if as_json:
        render.print_json({"schema_version": version})
    else:
        screen.write_line(f"schema version {version}; opening a database brings it up to date")


def _make_sure_it_is_there(context: typer.Context) -> None:
    path = make_engine(context).database

    if not path.exists():
        raise CommandError(f"no database: {path}", hint="the first enqueue makes it")
