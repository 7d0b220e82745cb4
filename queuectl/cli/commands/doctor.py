"""``doctor``: looks at the installation and the database, and says what to do."""

import asyncio
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from queuectl import escape_line
from queuectl.cli import options, render, screen
from queuectl.cli.errors import ExitCode
from queuectl.cli.session import make_engine

if TYPE_CHECKING:
    from queuectl import Finding

_EXAMPLES: Final = """
\b
Examples:
  queuectl doctor
  queuectl doctor --quiet || echo 'something has to be mended'
  queuectl --db backup.db doctor --full
"""

# The last stand where a person's eyes are: at the end.
_ORDER: Final = ("ok", "note", "problem")
# SGR parameters: green, yellow, red.
_COLORS: Final = {"ok": "32", "note": "33", "problem": "31"}
_NARROWEST: Final = 40

app: typer.Typer = typer.Typer()


@app.command("doctor", epilog=_EXAMPLES)
def doctor(
    context: typer.Context,
    full: Annotated[
        bool, typer.Option("--full", help="Read a database of more than 1 GiB to its end, too.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.")] = False,
) -> None:
    """
    Look at the installation and the database, and say what to do.

    It works where the database cannot be opened, and changes nothing. Where
    there is a problem, the exit code is 1; notes are good to know, no more.
    """
    from queuectl import diagnose, finding_record

    database = make_engine(context).database
    findings = asyncio.run(diagnose(database, full=full))
    problems = [finding for finding in findings if finding.verdict == "problem"]
    shown = problems if quiet else findings

    if as_json:
        render.print_json([finding_record(finding) for finding in shown])
    else:
        _print(shown)

    if problems:
        raise typer.Exit(ExitCode.FAILURE)


def _print(findings: Sequence["Finding"]) -> None:
    width = max((len(finding.check) for finding in findings), default=0)

    for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.verdict)):
        head = f"{finding.verdict:<7}  {finding.check:<{width}}  "
        lines = _wrapped(escape_line(finding.words), len(head))
        screen.write_line(_colored(head, finding.verdict) + lines[0])
        screen.write("".join(f"{'':<{len(head)}}{line}\n" for line in lines[1:]))

        if finding.advice is not None:
            # In one piece: what is in it may be copied.
            screen.write_line(f"{'':<{len(head)}}-> {escape_line(finding.advice)}")


def _wrapped(text: str, indent: int) -> list[str]:
    """Break a text into lines where a person looks at them; leave it whole in a pipe."""
    if not screen.is_terminal(sys.stdout):
        return [text]

    width = max(_NARROWEST, shutil.get_terminal_size().columns - indent)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _colored(head: str, verdict: str) -> str:
    if not (screen.is_terminal(sys.stdout) and screen.is_colored()):
        return head

    return f"\x1b[{_COLORS[verdict]}m{verdict}\x1b[0m{head.removeprefix(verdict)}"
