"""
What stands in the files of a run, as bytes and as what they mean.

``docs/reference/files.md`` says the same to whoever looks into them by hand. Nothing
is read or written here.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from queuectl.engine.domain.models import RunKey

_LONGEST_NOTE: Final = 64
# What is written down of an outcome, in bytes.
LONGEST_OUTCOME: Final = 1024
# The files' sizes, in bytes; nothing of a run's is longer than its lock file.
LOCK_FILE_SIZE: Final = 2 * (_LONGEST_NOTE + 1) + LONGEST_OUTCOME + 1
_EXIT_FILE_SIZE: Final = 2 * _LONGEST_NOTE + 1

_NOTE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})")


class Refusal(StrEnum):
    """Why a run's shell could not begin the command, as it writes that down."""

    FOLDER = "folder"
    FORK = "fork"


# What a shell ends with that does not begin its command. Of programs that run others, as
# env and timeout, 125 says that they failed themselves; a command may say it too.
NOT_BEGUN: Final = 125

# What a run's shell writes of itself: the run's note, its own process number, which is not
# that of the system's first process, and what the command exited with, or why it did not begin.
_WORD: Final = re.compile(
    rf"(?P<note>{_NOTE.pattern}) (?!1(?: |$))(?P<leader>[1-9][0-9]{{0,9}})"
    rf"(?: (?:(?P<code>[0-9]{{1,10}})|(?P<refusal>{'|'.join(Refusal)})))?"
)

# What the file for that holds before its first run.
NO_WORD: Final = b" " * (_EXIT_FILE_SIZE - 1) + b"\n"

# Of what a command exits with, the system keeps the last byte; some shells keep it all.
_EXIT_CODE: Final = 0xFF


class ExitNote(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the shell of a run writes down.

    Attributes:
        leader: Its process number, which is its session's and its group's too;
            None where what stands there cannot be that.
        code: The exit code; None until it ends.
        refusal: Why it did not begin the command, None where it did.
    """

    leader: int | None
    code: int | None
    refusal: Refusal | None = None


def run_note(key: RunKey) -> str:
    """Return what a run's files say: whose they are."""
    return f"{key.seq} {key.run}"


def noted_key(note: str) -> RunKey | None:
    """Return the run that a note names, None where it names none."""
    found = _NOTE.fullmatch(note)
    return None if found is None else RunKey(int(found[1]), int(found[2]))


def lock_lines(note: str, why: str = "", outcome: bytes = b"") -> bytes:
    """Return what a lock file holds: whose it is, why that is being ended, how it ended."""
    head = f"{note:<{_LONGEST_NOTE}}\n{why:<{_LONGEST_NOTE}}\n".encode()
    return b"%b%b\n" % (head, outcome.ljust(LONGEST_OUTCOME))


def lock_line(content: bytes, number: int) -> str | None:
    """Return a line of a lock file, counted from 0; None where it is missing or not whole."""
    lines = content.split(b"\n")
    # Behind the last line's end there is one more piece.
    return lines[number].decode(errors="replace").strip() if number < len(lines) - 1 else None


def exit_note(content: bytes, note: str) -> ExitNote | None:
    """
    Return what a run's shell wrote into an exit file, None where it did not come to that.

    Args:
        content: Of the file; nothing where there is none.
        note: Says which run.
    """
    word = _word(content)

    if word is not None and word["note"] == note:
        leader = int(word["leader"])

        if word["refusal"] is not None:
            return ExitNote(leader=leader, code=NOT_BEGUN, refusal=Refusal(word["refusal"]))

        code = None if word["code"] is None else int(word["code"]) & _EXIT_CODE
        return ExitNote(leader=leader, code=code)

    # Else the worker made it so, or the shell of an earlier run left it: somebody,
    # as the command, has removed it or written into it since.
    return None if is_whole_exit(content) else ExitNote(leader=None, code=None)


def is_whole_exit(content: bytes) -> bool:
    """Whether this is an exit file as only a worker, or a shell in one of a worker's, leaves it."""
    is_long = len(content) >= _EXIT_FILE_SIZE
    return is_long and (content == NO_WORD or _word(content) is not None)


def _word(content: bytes) -> re.Match[str] | None:
    """Return what the shell of a run, of whichever, wrote into an exit file."""
    line, end, _ = content.partition(b"\n")
    return _WORD.fullmatch(line.decode(errors="replace").strip()) if end else None
