"""The options and arguments of the commands, each written once."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

from queuectl import InvalidValueError, JobState, parse_duration, parse_size, parse_time

T = TypeVar("T")

_ARGV: Final = "queuectl.argv"
_SHORTEST_INTERVAL: Final = timedelta(milliseconds=100)


class ArgvCommand(TyperCommand):
    """A command that keeps what follows ``--`` apart, word for word; see `argv_of`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 (its class is private)
        """Take the first ``--`` and what follows it away before the rest is parsed."""
        ctx.meta[_ARGV] = None

        if "--" in args:
            place = args.index("--")
            ctx.meta[_ARGV] = args[place + 1 :]
            args = args[:place]

        return super().parse_args(ctx, args)


def argv_of(context: typer.Context) -> list[str] | None:
    """Return the words behind ``--``, None where there was no ``--``."""
    argv: list[str] | None = context.meta[_ARGV]
    return argv


def join_argv(argv: Sequence[str]) -> str:
    """Return the shell command that runs a program with these words."""
    import shlex

    return shlex.join(argv)


def parse_env(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return the variables of ``--env``."""
    variables = {}

    for pair in pairs or ():
        name, equals, value = pair.partition("=")

        if not equals:
            raise typer.BadParameter(f"not NAME=VALUE: {pair}", param_hint="'--env'")

        variables[name] = value

    return variables


def _reading(reader: Callable[[str], T]) -> Callable[[str], T]:
    """Return the reader with its error as a usage error that keeps the words."""

    def read(text: str) -> T:
        try:
            return reader(text)
        except InvalidValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def text(words: str) -> str:
    """Refuse bytes that are not text: no id and no tag has them, and nothing can look for them."""
    try:
        words.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"not UTF-8: {words}") from None

    return words


def _duration(text: str) -> timedelta:
    return _reading(parse_duration)(text)


def _size(text: str) -> int:
    return _reading(parse_size)(text)


def _time(text: str) -> datetime:
    return _reading(parse_time)(text)


def _interval(text: str) -> timedelta:
    interval = _duration(text)

    if interval < _SHORTEST_INTERVAL:
        raise typer.BadParameter(f"at least {_SHORTEST_INTERVAL.total_seconds():g} s")

    return interval


# What every command may have.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

# Which jobs.
JobId = Annotated[
    str, typer.Argument(parser=text, metavar="ID", help="The job.", show_default=False)
]
JobIds = Annotated[
    list[str], typer.Argument(parser=text, metavar="ID...", help="The jobs.", show_default=False)
]
SomeJobIds = Annotated[
    list[str] | None,
    typer.Argument(parser=text, metavar="[ID...]", help="The jobs.", show_default=False),
]
State = Annotated[
    JobState | None, typer.Option("--state", help="Only jobs in this state; else all.")
]
States = Annotated[
    list[JobState] | None,
    typer.Option(
        "--state",
        help="Only jobs in this state; may be given several times; else completed, dead and"
        " cancelled.",
    ),
]
Tag = Annotated[
    str | None, typer.Option("--tag", parser=text, metavar="T", help="Only jobs with this tag.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, max=2**31 - 1, metavar="N", help="Only the N that arrived last; else all."
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        parser=text,
        metavar="TEXT",
        help="Only jobs with this text in their command, id or reason; A to Z and a to z are"
        " the same.",
    ),
]
Cause = Annotated[
    str | None,
    typer.Option(
        "--cause",
        parser=text,
        metavar="REASON",
        help="All dead jobs with exactly this reason; see: queuectl dlq causes.",
    ),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        "--older-than",
        parser=_duration,
        metavar="DURATION",
        help="Only jobs that came into their state so long ago, as 7d; else all.",
    ),
]

# What a job is like.
Id = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="A name, unique; else one is made.")
]
Priority = Annotated[
    int | None,
    typer.Option(
        "--priority",
        "-p",
        metavar="N",
        help="Higher runs first; else the config's priority, 100.",
    ),
]
MaxRetries = Annotated[
    int | None,
    typer.Option(
        "--max-retries",
        metavar="N",
        help="Retries after the first run, 0 for none; else the config's max-retries, 3.",
    ),
]
BackoffBase = Annotated[
    float | None,
    typer.Option(
        "--backoff-base",
        metavar="B",
        help="Wait B to the power of n seconds after run n; else the config's backoff-base, 2.",
    ),
]
Timeout = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        parser=_duration,
        metavar="DURATION",
        help="End a run after this long, 0 for never; else the config's timeout-sec, 1 hour.",
    ),
]
OnCrash = Annotated[
    str | None,
    typer.Option(
        "--on-crash",
        metavar="adopt|kill|dead",
        help="What becomes of a run whose worker died: go on with it, end it and try again,"
        " or end it for good; else the config's on-crash, adopt.",
    ),
]
MaxOutputBytes = Annotated[
    int | None,
    typer.Option(
        "--max-output-bytes",
        parser=_size,
        metavar="SIZE",
        help="End a run that writes more, as 512K, 10M, 1G; 0 for no limit; else the config's,"
        " 1 GiB.",
    ),
]
RunAt = Annotated[
    datetime | None,
    typer.Option(
        "--run-at",
        parser=_time,
        metavar="TIME",
        help="Not before this time: RFC 3339, local where it has no zone; else at once.",
    ),
]
Delay = Annotated[
    timedelta | None,
    typer.Option(
        "--delay", parser=_duration, metavar="DURATION", help="Not before this long from now."
    ),
]
Cwd = Annotated[
    str | None,
    typer.Option("--cwd", metavar="FOLDER", help="Run in this folder; else in the current one."),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME=VALUE",
        help="Add a variable to the worker's environment; may be given several times.",
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="T", help="A word to find it by; may be given several times."),
]

# How long.
WaitTimeout = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        parser=_duration,
        metavar="DURATION",
        help="Give up after this long, with exit code 5; else never.",
    ),
]
Interval = Annotated[
    timedelta | None,
    typer.Option(
        "--interval",
        parser=_interval,
        metavar="DURATION",
        help="Time between two looks; else at changes, from 0.25s to 2s.",
    ),
]
