"""What was asked for, and how it becomes a complete job."""

import posixpath
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from queuectl.engine.domain.durations import LONGEST, check_duration, check_time
from queuectl.engine.domain.models import Discreet, NewJob, OnCrash
from queuectl.engine.domain.settings import (
    HIGHEST_PRIORITY,
    MOST_OUTPUT_BYTES,
    MOST_RETRIES,
    Settings,
)
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


class JobSpec(Discreet, frozen=True, kw_only=True, gc=False):
    """
    What the caller said about a job; what is None was not said.

    Attributes:
        command: What ``/bin/sh`` is to run; at most 120 KiB of UTF-8.
        id: ``[A-Za-z0-9][A-Za-z0-9._:-]{0,127}``; else one is made, which
            sorts by time.
        priority: Higher runs first; else the config's ``priority``.
        max_retries: Retries after the first run, 0 for none; else the
            config's ``max-retries``.
        backoff_base: The wait after run n is this to the power of n, in
            seconds; else the config's ``backoff-base`` when it fails.
        timeout: How long one run may take, zero for ever; else the config's
            ``timeout-sec``.
        on_crash: What becomes of a run whose worker died while it goes on:
            ``adopt`` it, ``kill`` it and try again, or kill it and call the
            job ``dead``; else the config's ``on-crash``.
        max_output_bytes: How much one run may write before it is ended, 0 for
            no limit; else the config's ``max-output-bytes``.
        run_at: Not before this time; else at once. Local without a zone.
        delay: Not before this long from now; not together with ``run_at``.
        cwd: The folder to run in, from the enqueuer's; else that one.
        env: Variables to add to the worker's environment.
        tags: Words to find it by.
    """

    command: str
    id: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    backoff_base: float | None = None
    timeout: timedelta | None = None
    on_crash: OnCrash | str | None = None
    max_output_bytes: int | None = None
    run_at: datetime | None = None
    delay: timedelta | None = None
    cwd: str | None = None
    env: dict[str, str] | None = None
    tags: tuple[str, ...] = ()


def resolve(spec: JobSpec, settings: Settings, *, now: datetime, made_id: str, here: str) -> NewJob:
    """
    Complete a job: what was said, else what the config says.

    Args:
        spec: What was asked for.
        settings: The config.
        now: When it was asked for.
        made_id: The id to use where none was given.
        here: The enqueuer's working directory, absolute.

    Raises:
        InvalidJobError: A field breaks its rule; the error names it.
    """
    check(spec)
    run_at = _due_time(spec, now)

    return NewJob(
        id=made_id if spec.id is None else spec.id,
        command=spec.command,
        priority=settings.priority if spec.priority is None else spec.priority,
        max_retries=settings.max_retries if spec.max_retries is None else spec.max_retries,
        backoff_base=spec.backoff_base,
        timeout=settings.timeout if spec.timeout is None else spec.timeout or None,
        on_crash=settings.on_crash if spec.on_crash is None else OnCrash(spec.on_crash),
        max_output_bytes=(
            settings.max_output_bytes if spec.max_output_bytes is None else spec.max_output_bytes
        )
        or None,
        run_at=run_at,
        is_due=run_at <= now,
        created_at=now,
        cwd=_folder(spec.cwd, here),
        env=dict(spec.env) if spec.env else {},
        tags=tuple(dict.fromkeys(spec.tags)) if spec.tags else (),
    )


def check(spec: JobSpec) -> None:
    """
    Check what was asked for, as far as that needs no config.

    Raises:
        InvalidJobError: A field breaks its rule; the error names it.
    """
    _check_command(spec.command)

    if spec.id is not None:
        check_id(spec.id)

    if spec.cwd is not None:
        _check_text("cwd", spec.cwd)

    if spec.env is not None:
        _check_env(spec.env)

    if spec.tags:
        _check_tags(spec.tags)

    _check_numbers(spec)
    _check_times(spec)


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


def check_reason(value: object) -> str | None:
    """
    Return the reason that a person gave, or None where none was given.

    Raises:
        InvalidJobError: It is longer than 1000 characters, or not text.
    """
    if value is None:
        return None

    text = _check_text("reason", value)

    if len(text) > MAX_REASON_LENGTH:
        raise InvalidJobError(f"longer than {MAX_REASON_LENGTH} characters", field="reason")

    return text


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


def _due_time(spec: JobSpec, now: datetime) -> datetime:
    if spec.run_at is not None:
        return check_time(spec.run_at)

    return now if spec.delay is None else now + spec.delay


def _folder(cwd: str | None, here: str) -> str:
    folder = here if cwd is None else posixpath.normpath(posixpath.join(here, cwd))

    # The caller's folder comes from the system, where names may be any bytes.
    return _check_text("cwd", folder)


# Types are checked as well: the library is called from programs that no type checker reads.


def _wrong_type(field: str, expected: str, value: object) -> InvalidJobError:
    return InvalidJobError(f"expected {expected}, got {type(value).__name__}", field=field)


def _flaw(text: str) -> str | None:
    """Return why neither the system nor the database takes this as text, or None."""
    if "\0" in text:
        return "holds a NUL character"

    if not text.isascii() and _SURROGATE.search(text):
        return "is not valid Unicode (a lone surrogate)"

    return None


def _check_text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(field, "text", value)

    if flaw := _flaw(value):
        raise InvalidJobError(flaw, field=field)

    return value


def _check_command(value: object) -> None:
    text = _check_text("command", value)

    if not text or text.isspace():
        raise InvalidJobError("is empty", field="command")

    size = len(text) if text.isascii() else len(text.encode())

    if size > MAX_COMMAND_BYTES:
        raise InvalidJobError(
            f"too long: {size} bytes (at most {MAX_COMMAND_BYTES})",
            field="command",
            hint="put it into a script file and enqueue a call of that",
        )


def _check_whole(field: str, value: object, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(field, "a whole number", value)

    _check_range(field, value, lowest, highest)


def _check_numbers(spec: JobSpec) -> None:
    if spec.priority is not None:
        _check_whole("priority", spec.priority, -HIGHEST_PRIORITY, HIGHEST_PRIORITY)

    if spec.max_retries is not None:
        _check_whole("max_retries", spec.max_retries, 0, MOST_RETRIES)

    if spec.backoff_base is not None:
        check_backoff_base("backoff_base", spec.backoff_base)

    if spec.max_output_bytes is not None:
        _check_whole("max_output_bytes", spec.max_output_bytes, 0, MOST_OUTPUT_BYTES)

    # By identity: called for each of many thousands.
    if spec.on_crash is not None and not isinstance(spec.on_crash, OnCrash):
        check_on_crash(spec.on_crash)


def _check_range(field: str, value: float, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise InvalidJobError(
            f"out of range: {plain(value)} (expected {lowest} to {highest})", field=field
        )


def _check_times(spec: JobSpec) -> None:
    if spec.timeout is not None:
        _check_duration("timeout", spec.timeout)

    if spec.run_at is not None:
        _check_time("run_at", spec.run_at)

    if spec.delay is not None:
        _check_duration("delay", spec.delay)

    if spec.run_at is not None and spec.delay is not None:
        raise InvalidJobError("give run_at or delay, not both", field="delay")


def _check_duration(field: str, value: object) -> None:
    if not isinstance(value, timedelta):
        raise _wrong_type(field, "a timedelta", value)

    # Asked for every job of thousands; the words are for the one that is refused.
    if _NO_TIME <= value <= LONGEST:
        return

    try:
        check_duration(value.total_seconds())
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _check_time(field: str, value: object) -> None:
    if not isinstance(value, datetime):
        raise _wrong_type(field, "a datetime", value)

    try:
        check_time(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _check_env(value: object) -> None:
    if not isinstance(value, Mapping):
        raise _wrong_type("env", "a dict", value)

    size = sum(_check_variable(name, text) for name, text in value.items())

    if size > MAX_ENV_BYTES:
        raise InvalidJobError(
            f"too long together: {size} bytes (at most {MAX_ENV_BYTES})", field="env"
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


def _check_tags(value: object) -> None:
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
