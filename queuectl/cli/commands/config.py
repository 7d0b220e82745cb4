"""``config``: what jobs and workers do where nothing else is said."""

from typing import Annotated, Final

import typer

from queuectl import SETTINGS
from queuectl.cli import options, render, screen
from queuectl.cli.session import with_engine

_EXAMPLES: Final = """
\b
Examples:
  queuectl config set max-retries 5
  queuectl config set timeout-sec 10m
"""

app: typer.Typer = typer.Typer(
    name="config",
    help="Show and change the config, which is kept in the database.",
    no_args_is_help=True,
)

_Key = Annotated[
    str,
    typer.Argument(metavar="KEY", help="See: queuectl config show; _ and - are the same."),
]


@app.command("show")
def show(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show every key, its value and its meaning."""
    values = with_engine(context, lambda engine: engine.config.show())

    if as_json:
        render.print_json(values)
    else:
        render.print_values(values, {key: setting.meaning for key, setting in SETTINGS.items()})


@app.command("get")
def get(context: typer.Context, key: _Key, as_json: options.AsJson = False) -> None:
    """Print the value of a key."""
    value = with_engine(context, lambda engine: engine.config.get(key))
    _print(key, value, as_json=as_json)


@app.command(
    "set",
    epilog=_EXAMPLES,
    # A negative number is a value, not an option.
    context_settings={"ignore_unknown_options": True},
)
def set_value(
    context: typer.Context,
    key: _Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="A number, a duration as 10m, a size as 10M, or a word."
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Set a key, for every process at once, and print its value."""
    _print(key, with_engine(context, lambda engine: engine.config.set(key, value)), as_json=as_json)


@app.command("unset")
def unset(context: typer.Context, key: _Key, as_json: options.AsJson = False) -> None:
    """Set a key back to its default, and print that."""
    _print(key, with_engine(context, lambda engine: engine.config.unset(key)), as_json=as_json)


def _print(key: str, value: float | str, *, as_json: bool) -> None:
    if as_json:
        render.print_json({_proper(key): value})
    else:
        screen.write_line(str(value))


def _proper(name: str) -> str:
    """Return the proper name of a key that the engine knew under this one."""
    plain = name.strip().lower().replace("_", "-")
    return next(key for key, setting in SETTINGS.items() if plain in {key, *setting.aliases})
