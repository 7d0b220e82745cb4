"""What is wrong with the JSON of a job, in words for people."""

import difflib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from queuectl.engine.errors import InvalidJobError, quoted

_UNKNOWN: Final = re.compile(r"unknown field `(.*)`\Z", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_TYPES: Final = re.compile(r"Expected `(.*?)`, got `(.*?)`")
_PATH: Final = re.compile(r" - at `\$\.(.*?)(\[\.\.\.\])?`\Z")
_MALFORMED: Final = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")

_MEANT: Final = {"args": "command", "cmd": "command", "retries": "max_retries", "name": "id"}
_FOUND: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a decimal number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}
_EXPECTED: Final = _FOUND | {"float": "a number"}

# Where msgspec counts the culprit as read, its offset is one too far: for these, and for what
# begins like null, true or false, of which it reads as many bytes as the word has.
_READ: Final = ("trailing characters", "invalid escape", "invalid character in unicode escape")
_WORD: Final = re.compile(rb"(?:\A|[\s:,\[])(?:[nt].{3}|f.{4})\Z", re.DOTALL)

# msgspec takes half a pair at the end of a text for a text that ends.
_HALF_PAIR: Final = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u)")

_UNQUOTED: Final = {"invalid character", "object keys must be strings"}
_BARE: Final = re.compile(rb"[^\x00-\x20{}\[\]:,\"]")
_QUOTES: Final = (
    "JSON has double quotes around names and text; at a shell, put single quotes around the whole"
)


def explain(
    error: Exception, source: bytes, fields: Sequence[str], *, is_line: bool = False
) -> InvalidJobError:
    """
    Say why a decoder of msgspec refused a text.

    Args:
        error: What it raised.
        source: The text.
        fields: The names that a job may have.
        is_line: The text is one line of many, whose number is named by others.
    """
    if isinstance(error, RecursionError):
        return InvalidJobError("nested too deeply")

    # msgspec counts the byte from the beginning of the string that it is in.
    try:
        source.decode()
    except UnicodeDecodeError as bad:
        return InvalidJobError(f"not UTF-8 (byte {bad.start + 1})")

    if isinstance(error, msgspec.ValidationError):
        return _unfit(str(error), fields)

    return _malformed(str(error), source, is_line=is_line)


def _unfit(text: str, fields: Sequence[str]) -> InvalidJobError:
    """Say what is wrong with JSON that is not a job."""
    if unknown := _UNKNOWN.search(text):
        return _unknown(unknown[1], fields)

    if missing := _MISSING.search(text):
        return InvalidJobError("is missing", field=missing[1])

    path = _PATH.search(text)
    field = path[1] if path else None
    types = _TYPES.search(text)

    if types is None:
        return InvalidJobError("out of range" if "out of range" in text else text, field=field)

    kinds = [_EXPECTED.get(kind, kind) for kind in types[1].split(" | ") if kind != "null"]
    found = _FOUND.get(types[2], types[2])
    each = " for every variable" if path and path[2] else ""
    return InvalidJobError(f"expected {' or '.join(kinds)}{each}, got {found}", field=field)


def _unknown(name: str, fields: Sequence[str]) -> InvalidJobError:
    close = difflib.get_close_matches(name, fields, n=1)
    near = _MEANT.get(name) or (close[0] if close else None)

    if near:
        return InvalidJobError(f"unknown field {quoted(name)}, did you mean {near!r}?")

    return InvalidJobError(
        f"unknown field {quoted(name)}", hint=f"the fields are: {', '.join(fields)}"
    )


def _malformed(text: str, source: bytes, *, is_line: bool) -> InvalidJobError:
    """Say where JSON breaks off; lines and columns count from 1, and columns in characters."""
    if not source.strip():
        return InvalidJobError("no JSON object given: the text is empty")

    problem, offset = _culprit(text, source)
    lines = source[:offset].split(b"\n")
    column = len(lines[-1].decode(errors="replace")) + 1
    place = f"column {column}" if is_line else f"line {len(lines)}, column {column}"
    is_bare = problem in _UNQUOTED and _BARE.match(source, offset)

    return InvalidJobError(
        f"malformed JSON at {place}: {problem}", hint=_QUOTES if is_bare else None
    )


def _culprit(text: str, source: bytes) -> tuple[str, int]:
    """Return what msgspec complains about, and the offset of the byte that it means."""
    if found := _MALFORMED.fullmatch(text):
        problem, offset = found[1], int(found[2])
        is_read = problem.startswith(_READ) or (
            problem == "invalid character" and _WORD.search(source[max(offset - 6, 0) : offset])
        )
        return problem, offset - 1 if is_read else offset

    if half := _HALF_PAIR.search(source):
        return "half of a surrogate pair", half.start(1)

    return "the text ends too early", len(source)
