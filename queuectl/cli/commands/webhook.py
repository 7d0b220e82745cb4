"""``webhook``: addresses that are told what becomes of jobs."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl.cli import options, render, screen, webhooks
from queuectl.cli.errors import CommandError, ExitCode, UsageError
from queuectl.cli.session import with_engine

if TYPE_CHECKING:
    from queuectl import Delivery, NewWebhook, QueueEngine

_EXAMPLES: Final = """
\b
Examples:
  queuectl webhook add https://example.com/hooks/jobs --on dead
  queuectl webhook add https://example.com/hooks/nightly --tag nightly
  queuectl webhook test wh1
  queuectl webhook deliveries --dead
  queuectl webhook retry --all
"""

# Whoever else may read or write a file.
_OTHERS: Final = 0o077
_LARGEST_FILE: Final = 4096

app: typer.Typer = typer.Typer(
    name="webhook",
    help="Have other programs told over HTTP what becomes of jobs.",
    no_args_is_help=True,
)

_Webhook = Annotated[
    str,
    typer.Argument(
        parser=options.text, metavar="WEBHOOK", help="The webhook, as wh1.", show_default=False
    ),
]
_SomeWebhook = Annotated[
    str | None,
    typer.Argument(
        parser=options.text, metavar="[WEBHOOK]", help="Only of this one.", show_default=False
    ),
]


@app.command("add", epilog=_EXAMPLES)
def add(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(parser=options.text, metavar="URL", help="Where to.", show_default=False),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="STATE,...",
            help="What it is told of: completed, failed, dead, cancelled; else all of these.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            parser=options.text,
            metavar="T",
            help="Only of jobs with this tag; may be given several times, for any of them.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="Take the secret from the first line of a file that only you can read; else"
            " one is made.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow http to another machine, for all to read.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """
    Add a webhook, which is told of what happens from now on.

    It prints the secret by which the receiver checks the signatures. Keep it: it is
    not shown again.
    """
    secret = None if secret_file is None else _read_secret(secret_file)
    chosen = {} if on is None else {"on": [state for words in on for state in _split(words)]}

    async def work(engine: "QueueEngine") -> "NewWebhook":
        return await engine.webhooks.add(
            url, tags=tag or (), secret=secret, insecure=insecure, **chosen
        )

    webhooks.print_new(with_engine(context, work), render.form_of(as_json=as_json))


@app.command("list")
def list_webhooks(
    context: typer.Context, as_json: options.AsJson = False, quiet: options.Quiet = False
) -> None:
    """List the webhooks, without their secrets."""
    found = with_engine(context, lambda engine: engine.webhooks.list())
    webhooks.print_webhooks(found, render.form_of(as_json=as_json, quiet=quiet))


@app.command("remove")
def remove(context: typer.Context, webhook: _Webhook, as_json: options.AsJson = False) -> None:
    """Remove a webhook, and whatever it was to be told."""
    with_engine(context, lambda engine: engine.webhooks.remove(webhook))

    if as_json:
        render.print_json({"removed": webhook})
    else:
        screen.write_line(f"Removed webhook: {webhook}")


@app.command("enable")
def enable(context: typer.Context, webhook: _Webhook, as_json: options.AsJson = False) -> None:
    """
    Send a webhook messages again that has answered 410, and so was disabled.

    What happened meanwhile was not kept for it.
    """
    enabled = with_engine(context, lambda engine: engine.webhooks.enable(webhook))
    webhooks.print_webhook(enabled, render.form_of(as_json=as_json), "Enabled webhook")


@app.command("deliveries")
def list_deliveries(
    context: typer.Context,
    webhook: _SomeWebhook = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, max=2**31 - 1, metavar="N", help="Only the last N."),
    ] = 100,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """
    List what webhooks are told, were told, and could not be told.

    What is over is kept for as long as the config key event-retention says.
    """
    found = with_engine(
        context,
        lambda engine: engine.webhooks.deliveries(
            webhook, state="dead" if dead else None, limit=limit
        ),
    )
    webhooks.print_deliveries(found, render.form_of(as_json=as_json, quiet=quiet))


@app.command("retry")
def retry(
    context: typer.Context,
    deliveries: Annotated[
        list[str] | None,
        typer.Argument(
            parser=options.text, metavar="[ID...]", help="The deliveries.", show_default=False
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            parser=options.text,
            metavar="WEBHOOK",
            help="All of this webhook that were given up.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Send deliveries that were given up again, and those that wait now: all named, or none."""
    ids = deliveries or []

    if bool(ids) + everything + (webhook is not None) != 1:
        raise UsageError(
            "give ids, --all or --webhook, and only one of them",
            hint="see them with: queuectl webhook deliveries --dead",
        )

    count = with_engine(context, lambda engine: _retry(engine, ids, webhook))

    if as_json:
        render.print_json({"retried": count})
    else:
        screen.write_line(f"Retrying {count} {'delivery' if count == 1 else 'deliveries'}")


@app.command("test")
def send_test(context: typer.Context, webhook: _Webhook, as_json: options.AsJson = False) -> None:
    """
    Send a webhook a message of type webhook.test, now and from here.

    The exit code is 1 where it was not taken.
    """
    result = with_engine(context, lambda engine: engine.webhooks.test(webhook))
    webhooks.print_test(webhook, result, render.form_of(as_json=as_json))

    if not result.is_delivered:
        raise typer.Exit(ExitCode.FAILURE)


async def _retry(engine: "QueueEngine", ids: list[str], webhook: str | None) -> int:
    if not ids:
        return await engine.webhooks.retry_all(webhook)

    retried: list[Delivery] = await engine.webhooks.retry(*ids)
    return len(retried)


def _split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _read_secret(path: Path) -> str:
    """
    Return the first line of a file.

    Raises:
        CommandError: Others may read it, or it is no file.
        OSError: It cannot be read.
    """
    # A pipe that nobody writes to would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    try:
        status = os.fstat(descriptor)

        if not stat.S_ISREG(status.st_mode):
            raise CommandError(f"the secret is not in a file: {path}")

        if status.st_mode & _OTHERS:
            raise CommandError(
                f"others may read the secret: {path}",
                hint=f"take it from them: chmod 600 {path}",
            )

        lines = os.read(descriptor, _LARGEST_FILE).splitlines()
    finally:
        os.close(descriptor)

    return lines[0].decode(errors="replace").strip() if lines else ""
