"""Standard output and standard error: what may be written there, and how."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Final, TextIO

from queuectl.cli.errors import CommandError

# What can steer a terminal or deceive a reader: C0 but for line breaks and
# tabs, DEL, C1, marks that turn the direction of writing, separators of lines
# and paragraphs, what takes no room (but for the joiners, which some languages
# need); and lone surrogates, which cannot be written at all.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_IN_LINE: Final = re.compile(f"{_UNSAFE.pattern}|[\n\t]")
_SHORT: Final = {"\r": r"\r", "\n": r"\n", "\t": r"\t"}
_LAST_OF_TWO_DIGITS: Final = 0xFF


class OutputClosedError(Exception):
    """Whoever read the standard output or standard error has left."""


def escape(text: str) -> str:
    r"""Make visible what could steer a terminal, as ``\x1b``; lines and tabs stay."""
    return _UNSAFE.sub(_visible, text)


def escape_line(text: str) -> str:
    r"""Make the same visible, and line breaks and tabs as ``\n`` and ``\t``."""
    return _UNSAFE_IN_LINE.sub(_visible, text)


def escape_json(text: str) -> str:
    r"""Write the same characters inside JSON strings as ``\u009b``, which means the same."""
    return _UNSAFE.sub(lambda found: _json_escape(found[0]), text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def write(text: str) -> None:
    """Write text to the standard output."""
    with named_errors():
        sys.stdout.write(text)


def write_line(text: str) -> None:
    """Write a line to the standard output."""
    write(f"{text}\n")


def write_bytes(content: bytes) -> None:
    """Write bytes to the standard output as they are, at once."""
    with named_errors():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def flush() -> None:
    """Hand on what was written to the standard output."""
    with named_errors():
        sys.stdout.flush()


def note(text: str) -> None:
    """Write a line for a person to the standard error."""
    with named_errors():
        sys.stderr.write(f"{escape(text)}\n")
        sys.stderr.flush()


def note_bytes(content: bytes) -> None:
    """Write bytes to the standard error as they are."""
    with named_errors():
        sys.stderr.flush()
        sys.stderr.buffer.write(content)
        sys.stderr.buffer.flush()


def ask(question: str) -> bool:
    """Ask a person on the standard error; anything but yes is no."""
    with named_errors():
        sys.stderr.write(f"{escape(question)} [y/N] ")
        sys.stderr.flush()

    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads, or types into, the stream."""
    return stream.isatty()


def is_colored() -> bool:
    """Whether colour is welcome, as far as the environment says."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_animated(stream: TextIO) -> bool:
    """Whether something on the stream may move: a person looks, and we are in front."""
    return is_terminal(stream) and is_colored() and is_in_foreground(stream)


def make_ready() -> None:
    """
    Prepare the standard streams for what may happen.

    A stream that the caller closed goes nowhere. What its encoding does not
    have is written as an escape.
    """
    if sys.stdin is None:
        sys.stdin = _open_nowhere("r")

    if sys.stdout is None:
        sys.stdout = _open_nowhere("w")

    if sys.stderr is None:
        sys.stderr = _open_nowhere("w")

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Send what is still to be written nowhere, so that Python's exit does not stumble."""
    nowhere = os.open(os.devnull, os.O_WRONLY)

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())

    os.close(nowhere)


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)

    if character in _SHORT:
        return _SHORT[character]

    return f"\\x{code:02x}" if code <= _LAST_OF_TWO_DIGITS else f"\\u{code:04x}"


def is_in_foreground(stream: TextIO) -> bool:
    """Whether the terminal of the stream is ours to write to now."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:
        return False


def _open_nowhere(mode: str) -> TextIO:
    # Kept open until the program ends.
    return TextIOWrapper(open(os.devnull, f"{mode}b"), encoding="utf-8")  # noqa: PTH123


@contextmanager
def named_errors() -> Iterator[None]:
    """Name the errors of whatever writes to the standard streams inside the context."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error
    except OSError as error:
        raise CommandError(f"cannot write the output: {error.strerror}") from error
