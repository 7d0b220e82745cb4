"""
The rules for what a job is asked to be, field by field.

Types are checked as well: the library is called from programs that no type
checker reads.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from queuectl.engine.domain.durations import LONGEST, check_duration, check_time
from queuectl.engine.domain.models import OnCrash
from queuectl.engine.errors import InvalidJobError, InvalidValueError, named, plain, quoted

# Linux takes 128 KiB for one argument of a program (MAX_ARG_STRLEN, execve(2));
# 8 KiB of it are kept for the wrapper that saves the exit code.
MAX_COMMAND_BYTES: Final = 120 * 1024

# The same limit holds for one "NAME=value" of the environment.
MAX_VARIABLE_BYTES: Final = MAX_COMMAND_BYTES

# Linux takes the environment and the arguments together up to a quarter of the
# stack limit, 2 MiB as a rule; the worker's own environment needs its share.
MAX_ENV_BYTES: Final = 256 * 1024

MAX_TAGS: Final = 64
MAX_TAG_LENGTH: Final = 128
MAX_REASON_LENGTH: Final = 1000
HIGHEST_BACKOFF_BASE: Final = 1000

_NO_TIME: Final = timedelta()
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ID_RULE: Final = "(a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -)"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def check_id(value: object) -> str:
    """
    Return the id.

    Raises:
        InvalidJobError: It does not match ``[A-Za-z0-9][A-Za-z0-9._:-]{0,127}``.
    """
    if not isinstance(value, str):
        raise _wrong_type("id", "text", value)

    if not _ID.fullmatch(value):
        raise InvalidJobError(f"not allowed: {quoted(value)} {_ID_RULE}", field="id")

    return value


def check_command(value: object) -> None:
    """
    Check a command.

    Raises:
        InvalidJobError: It is empty, longer than 120 KiB of UTF-8, or not text.
    """
    text = check_text("command", value)

    if not text or text.isspace():
        raise InvalidJobError("is empty", field="command")

    size = len(text) if text.isascii() else len(text.encode())

    if size > MAX_COMMAND_BYTES:
        raise InvalidJobError(
            f"too long: {size} bytes (at most {MAX_COMMAND_BYTES})",
            field="command",
            hint="put it into a script file and enqueue a call of that",
        )


def check_text(field: str, value: object) -> str:
    """
    Return the text that was given for this field.

    Raises:
        InvalidJobError: It is not text, or none that the system and the database take.
    """
    if not isinstance(value, str):
        raise _wrong_type(field, "text", value)

    if flaw := _flaw(value):
        raise InvalidJobError(flaw, field=field)

    return value


def check_whole(field: str, value: object, lowest: int, highest: int) -> None:
    """
    Check a whole number.

    Raises:
        InvalidJobError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(field, "a whole number", value)

    _check_range(field, value, lowest, highest)


def check_backoff_base(field: str, value: object) -> None:
    """
    Check a backoff base that was given under this name.

    Raises:
        InvalidJobError: It is not a number from 0 to 1000.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(field, "a number", value)

    _check_range(field, value, 0, HIGHEST_BACKOFF_BASE)


def check_on_crash(value: object) -> OnCrash:
    """
    Return the choice of this name.

    Raises:
        InvalidJobError: There is none.
    """
    if not isinstance(value, str):
        raise _wrong_type("on_crash", "text", value)

    try:
        return OnCrash(value)
    except ValueError:
        choices = ", ".join(OnCrash)
        raise InvalidJobError(
            f"not allowed: {quoted(value)} (one of {choices})", field="on_crash"
        ) from None


def check_span(field: str, value: object) -> None:
    """
    Check a duration that was given under this name.

    Raises:
        InvalidJobError: It is not a timedelta, negative, or too long.
    """
    if not isinstance(value, timedelta):
        raise _wrong_type(field, "a timedelta", value)

    # Asked for every job of thousands; the words are for the one that is refused.
    if _NO_TIME <= value <= LONGEST:
        return

    try:
        check_duration(value.total_seconds())
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def check_moment(field: str, value: object) -> None:
    """
    Check a time that was given under this name.

    Raises:
        InvalidJobError: It is not a datetime, or one that cannot be kept.
    """
    if not isinstance(value, datetime):
        raise _wrong_type(field, "a datetime", value)

    try:
        check_time(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def check_env(value: object) -> None:
    """
    Check the variables of a job.

    Raises:
        InvalidJobError: One is not allowed, or they are too long together.
    """
    if not isinstance(value, Mapping):
        raise _wrong_type("env", "a dict", value)

    size = sum(_check_variable(name, text) for name, text in value.items())

    if size > MAX_ENV_BYTES:
        raise InvalidJobError(
            f"too long together: {size} bytes (at most {MAX_ENV_BYTES})", field="env"
        )


def check_tags(value: object) -> None:
    """
    Check the tags of a job.

    Raises:
        InvalidJobError: One is not allowed, or there are too many.
    """
    # A single text is a sequence of texts too, and never meant as one.
    if not isinstance(value, (tuple, list)):
        raise _wrong_type("tags", "a tuple of text", value)

    if len(value) > MAX_TAGS:
        raise InvalidJobError(f"too many: {len(value)} (at most {MAX_TAGS})", field="tags")

    for tag in value:
        if not isinstance(tag, str):
            raise _wrong_type("tags", "text", tag)

        # NUL and lone surrogates are not printable.
        if not 0 < len(tag) <= MAX_TAG_LENGTH or not tag.isprintable():
            raise InvalidJobError(
                f"not allowed: {quoted(tag)} (1 to {MAX_TAG_LENGTH} printable characters)",
                field="tags",
            )


def check_reason(value: object) -> str | None:
    """
    Return the reason that a person gave, or None where none was given.

    Raises:
        InvalidJobError: It is longer than 1000 characters, or not text.
    """
    if value is None:
        return None

    text = check_text("reason", value)

    if len(text) > MAX_REASON_LENGTH:
        raise InvalidJobError(f"longer than {MAX_REASON_LENGTH} characters", field="reason")

    return text


def duration_of(field: str, value: float | timedelta | None) -> timedelta | None:
    """
    Return a duration that was given in seconds, or as one.

    Raises:
        InvalidJobError: It is no duration.
    """
    if value is None or isinstance(value, timedelta):
        return value

    try:
        return check_duration(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _wrong_type(field: str, expected: str, value: object) -> InvalidJobError:
    return InvalidJobError(f"expected {expected}, got {type(value).__name__}", field=field)


def _flaw(text: str) -> str | None:
    """Return why neither the system nor the database takes this as text, or None."""
    if "\0" in text:
        return "holds a NUL character"

    if not text.isascii() and _SURROGATE.search(text):
        return "is not valid Unicode (a lone surrogate)"

    return None


def _check_range(field: str, value: float, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise InvalidJobError(
            f"out of range: {plain(value)} (expected {lowest} to {highest})", field=field
        )


def _check_variable(name: object, value: object) -> int:
    """Check one variable and return its size in bytes, as the system counts it."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise _wrong_type("env", "text", value if isinstance(name, str) else name)

    if not _VARIABLE.fullmatch(name):
        raise InvalidJobError(f"not a variable's name: {quoted(name)}", field="env")

    if name.startswith("QUEUECTL_"):
        raise InvalidJobError(f"{named(name)} is for queuectl to set", field="env")

    if flaw := _flaw(value):
        raise InvalidJobError(f"{named(name)} {flaw}", field="env")

    # "NAME=value" with a NUL at its end.
    size = len(name) + len(value.encode()) + 2

    if size > MAX_VARIABLE_BYTES:
        raise InvalidJobError(
            f"{named(name)} is too long: {size} bytes (at most {MAX_VARIABLE_BYTES})", field="env"
        )

    return size
