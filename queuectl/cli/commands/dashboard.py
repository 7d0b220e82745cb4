"""``dashboard``: the queue in a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import escape_line
from queuectl.cli import options, render, screen
from queuectl.cli.errors import CommandError, UsageError
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import QueueEngine
    from queuectl.dashboard import Access

_EXAMPLES: Final = """
\b
Examples:
  queuectl dashboard
  queuectl dashboard --port 9000 --read-only
  queuectl dashboard --host 0.0.0.0 --token-file token --allow-host jobs.example.com

Ctrl-C and TERM stop it. Pages that are open find it again when it is back.
"""

# What the extra brings.
_PACKAGES: Final = frozenset({"jinja2", "starlette", "uvicorn"})

app: typer.Typer = typer.Typer()


@app.command("dashboard", epilog=_EXAMPLES)
def dashboard(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen on this address.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, metavar="N", help="Listen on this port; 0 for a free one."
        ),
    ] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="The token is the first line of this file, which only you can read; else one"
            " is made and kept beside the database. Needed where other machines can reach it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A further name by which browsers reach it; may be given several times.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, change nothing.")
    ] = False,
    allow_enqueue: Annotated[
        bool, typer.Option("--allow-enqueue", help="Let jobs be added, which run any command.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Show the queue in a browser, live.

    It stays in the foreground, and prints the link to open, which has a token in
    it: who has the token can do whatever the pages can. With --json it prints an
    object with the link.
    """
    if read_only and allow_enqueue:
        raise UsageError("--read-only and --allow-enqueue exclude each other")

    access = _import_access()(
        host=host,
        port=port,
        token_file=token_file,
        names=tuple(allow_host or ()),
        read_only=read_only,
        allow_enqueue=allow_enqueue,
    )
    with_engine(context, lambda engine: _serve(engine, access, as_json=as_json))


async def _serve(engine: "QueueEngine", access: "Access", *, as_json: bool) -> None:
    from queuectl.dashboard import open_server

    try:
        server = await open_server(engine, access)
    except ValueError as error:
        raise UsageError(str(error)) from None

    if as_json:
        render.print_json_line({"url": server.link})
    else:
        screen.write_line(f"Dashboard: {server.link}")
        screen.flush()

    if access.token_file is not None:
        screen.note(f"sign in with the token in {escape_line(str(access.token_file))}")

    await server.serve_until_stopped()


def _import_access() -> type["Access"]:
    """
    Return the type of what is asked for, with the whole dashboard behind it imported.

    Raises:
        CommandError: The packages of the extra are not installed.
    """
    try:
        from queuectl.dashboard import Access
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]

        if package not in _PACKAGES:
            raise

        raise CommandError(
            f"the dashboard needs extra packages, and {package} is missing",
            hint="install them with: pip install 'queuectl[dashboard]'",
        ) from error

    return Access
