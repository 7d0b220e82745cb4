"""What was asked for, and how it becomes a complete job."""

import posixpath
import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from queuectl.engine.domain.durations import LONGEST, check_time
from queuectl.engine.domain.models import NewJob
from queuectl.engine.domain.settings import HIGHEST_PRIORITY, MOST_RETRIES, Settings
from queuectl.engine.errors import InvalidJobError, InvalidValueError

# Linux takes 128 KiB for one argument of a program (MAX_ARG_STRLEN, execve(2));
# 8 KiB of it are kept for the wrapper that saves the exit code.
MAX_COMMAND_BYTES: Final = 120 * 1024

# Linux takes the environment and the arguments together up to a quarter of the
# stack limit, 2 MiB as a rule; the worker's own environment needs its share.
MAX_ENV_BYTES: Final = 256 * 1024

MAX_TAGS: Final = 64
MAX_TAG_LENGTH: Final = 128
MAX_REASON_LENGTH: Final = 1000
HIGHEST_BACKOFF_BASE: Final = 1000

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    run_at: datetime | None = None
    delay: timedelta | None = None
    cwd: str | None = None
    env: dict[str, str] | None = None
    tags: tuple[str, ...] = ()


def resolve(
    spec: JobSpec, settings: Settings, *, now: datetime, made_id: str, here: str
) -> NewJob:
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
    run_at = _due_time(spec, now)

    return NewJob(
        id=made_id if spec.id is None else check_id(spec.id),
        command=_check_command(spec.command),
        priority=_check_priority(spec.priority, settings),
        max_retries=_check_retries(spec.max_retries, settings),
        backoff_base=_check_backoff(spec.backoff_base),
        timeout=_check_timeout(spec.timeout, settings),
        run_at=run_at,
        is_due=run_at <= now,
        created_at=now,
        cwd=here if spec.cwd is None else posixpath.normpath(
            posixpath.join(here, _check_text("cwd", spec.cwd))
        ),
        env=_check_env(spec.env) if spec.env else {},
        tags=_check_tags(spec.tags) if spec.tags else (),
    )


def check_id(text: str) -> str:
    """
    Return the id.

    Raises:
        InvalidJobError: It does not match ``[A-Za-z0-9][A-Za-z0-9._:-]{0,127}``.
    """
    if not _ID.fullmatch(text):
        raise InvalidJobError(
            f"not allowed: {text[:140]!r} (a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -)",
            field="id",
        )

    return text


def check_reason(text: str | None) -> str | None:
    """
    Return the reason that a person gave.

    Raises:
        InvalidJobError: It is longer than 1000 characters, or not text.
    """
    if text is None:
        return None

    if len(text) > MAX_REASON_LENGTH:
        raise InvalidJobError(f"longer than {MAX_REASON_LENGTH} characters", field="reason")

    return _check_text("reason", text)


def _check_text(field: str, text: str) -> str:
    """Refuse what neither the system nor the database takes as text."""
    if "\0" in text:
        raise InvalidJobError("holds a NUL character", field=field)

    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidJobError("is not valid Unicode (a lone surrogate)", field=field)

    return text


def _check_command(text: str) -> str:
    if not text or text.isspace():
        raise InvalidJobError("is empty", field="command")

    _check_text("command", text)
    size = len(text) if text.isascii() else len(text.encode())

    if size > MAX_COMMAND_BYTES:
        raise InvalidJobError(
            f"too long: {size} bytes (at most {MAX_COMMAND_BYTES})",
            field="command",
            hint="put it into a script file and enqueue a call of that",
        )

    return text


def _check_priority(value: int | None, settings: Settings) -> int:
    if value is None:
        return settings.priority

    if not -HIGHEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        raise InvalidJobError(
            f"out of range: {value} (expected {-HIGHEST_PRIORITY} to {HIGHEST_PRIORITY})",
            field="priority",
        )

    return value


def _check_retries(value: int | None, settings: Settings) -> int:
    if value is None:
        return settings.max_retries

    if not 0 <= value <= MOST_RETRIES:
        raise InvalidJobError(
            f"out of range: {value} (expected 0 to {MOST_RETRIES})", field="max_retries"
        )

    return value


def _check_backoff(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= HIGHEST_BACKOFF_BASE:
        raise InvalidJobError(
            f"out of range: {value:g} (expected 0 to {HIGHEST_BACKOFF_BASE})",
            field="backoff_base",
        )

    return value


def _check_timeout(value: timedelta | None, settings: Settings) -> timedelta | None:
    if value is None:
        return settings.timeout

    if not timedelta() <= value <= LONGEST:
        raise InvalidJobError(
            f"out of range: {value.total_seconds():g} s (expected 0 s to {LONGEST.days} days)",
            field="timeout",
        )

    return value or None


def _due_time(spec: JobSpec, now: datetime) -> datetime:
    if spec.run_at is not None and spec.delay is not None:
        raise InvalidJobError("give run_at or delay, not both", field="delay")

    if spec.run_at is not None:
        try:
            return check_time(spec.run_at)
        except InvalidValueError as error:
            raise InvalidJobError(str(error), field="run_at") from error

    if spec.delay is not None:
        if not timedelta() <= spec.delay <= LONGEST:
            raise InvalidJobError(
                f"out of range: {spec.delay.total_seconds():g} s"
                f" (expected 0 s to {LONGEST.days} days)",
                field="delay",
            )

        return now + spec.delay

    return now


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            raise InvalidJobError(f"not a variable's name: {name[:140]!r}", field="env")

        if name.startswith("QUEUECTL_"):
            raise InvalidJobError(f"{name} is for queuectl to set", field="env")

        _check_text("env", value)

    size = sum(len(name) + len(value.encode()) + 2 for name, value in env.items())

    if size > MAX_ENV_BYTES or any(len(v.encode()) > MAX_COMMAND_BYTES for v in env.values()):
        raise InvalidJobError(
            f"too long: {size} bytes (at most {MAX_ENV_BYTES}, and {MAX_COMMAND_BYTES} for one)",
            field="env",
        )

    return env


def _check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(tags) > MAX_TAGS:
        raise InvalidJobError(f"too many: {len(tags)} (at most {MAX_TAGS})", field="tags")

    for tag in tags:
        if not 0 < len(tag) <= MAX_TAG_LENGTH or not tag.isprintable():
            raise InvalidJobError(
                f"not allowed: {tag[:140]!r} (1 to {MAX_TAG_LENGTH} printable characters)",
                field="tags",
            )

        _check_text("tags", tag)

    return tuple(dict.fromkeys(tags))
