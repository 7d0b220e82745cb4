"""Jobs as JSON: one object, an array of them, or one object a line."""

import difflib
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import msgspec

from queuectl.engine.domain.durations import check_duration, parse_duration, parse_time
from queuectl.engine.domain.spec import JobSpec
from queuectl.engine.errors import InvalidInputError, InvalidJobError, InvalidValueError


class JobInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """
    The JSON object that a job is enqueued from; only ``command`` is needed.

    ``timeout`` and ``timeout_sec`` are the same, as are ``backoff_base`` and
    ``base_backoff``. ``state``, ``attempts``, ``created_at`` and
    ``updated_at`` are taken as long as they say what the queue will say
    itself: a new job is pending and has no attempts.
    """

    command: str
    id: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    backoff_base: float | None = None
    base_backoff: float | None = None
    timeout: float | str | None = None
    timeout_sec: float | str | None = None
    run_at: str | None = None
    delay: float | str | None = None
    cwd: str | None = None
    env: dict[str, str] | None = None
    tags: list[str] | None = None
    state: str | None = None
    attempts: int | None = None
    created_at: str | None = None
    updated_at: str | None = None


_DECODER: Final = msgspec.json.Decoder(JobInput)
_FIELDS: Final = JobInput.__struct_fields__
_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`")
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_AT: Final = re.compile(r" - at `\$(?:\.)?(.*?)`$")
_BYTE: Final = re.compile(r" \(byte (\d+)\)$")
_HINTS: Final = {"args": "command", "cmd": "command", "retries": "max_retries", "name": "id"}


def parse_job(text: bytes) -> JobSpec:
    """
    Read one job from a JSON object.

    Raises:
        InvalidJobError: It is not one; the error says where and what is wrong.
    """
    try:
        return _spec(_DECODER.decode(text))
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except msgspec.DecodeError as error:
        raise InvalidJobError(_malformed(str(error), text)) from None
    except UnicodeDecodeError as error:
        raise InvalidJobError(f"not UTF-8 (byte {error.start + 1})") from None
    except RecursionError:
        raise InvalidJobError("nested too deeply") from None


def parse_jobs(text: bytes) -> list[JobSpec]:
    """
    Read jobs from an object, an array of objects, or one object a line.

    Empty lines are passed over.

    Returns:
        The jobs, in the order of the input; empty where the input is.

    Raises:
        InvalidJobError: The input is a single object or array, and malformed.
        InvalidInputError: Some of several are wrong; it names every one.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    start = text.lstrip()[:1]

    if start == b"[":
        return _parse_all(_elements(text), unit="element")

    lines = text.splitlines() if b"\r" not in text else text.replace(b"\r\n", b"\n").split(b"\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]

    if len(numbered) == 1:
        return [parse_job(text)]

    if start == b"{" and _is_one_object(text):
        return [parse_job(text)]

    return _parse_all(numbered, unit="line")


def _is_one_object(text: bytes) -> bool:
    """Tell an object over several lines from one object a line."""
    first = text.lstrip().split(b"\n", 1)[0].rstrip()

    # A first line that stands alone is what JSON lines look like; the whole
    # text is parsed only where it does not.
    try:
        msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        return False

    # More lines that begin objects mean lines with a bad one first.
    return sum(line.startswith(b"{") for line in text.split(b"\n")) <= 1


def _elements(text: bytes) -> list[tuple[int, bytes]]:
    try:
        raws = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJobError(_malformed(str(error), text)) from None
    except RecursionError:
        raise InvalidJobError("nested too deeply") from None

    return [(number, bytes(raw)) for number, raw in enumerate(raws, 1)]


def _parse_all(pieces: Iterable[tuple[int, bytes]], *, unit: str) -> list[JobSpec]:
    specs: list[JobSpec] = []
    problems: list[tuple[int, str]] = []

    for place, piece in pieces:
        try:
            specs.append(parse_job(piece))
        except InvalidJobError as error:
            problems.append((place, str(error)))

    if problems:
        raise InvalidInputError(unit, problems)

    return specs


def _spec(given: JobInput) -> JobSpec:
    if given.state is not None or given.attempts is not None:
        _check_is_new(given)

    return JobSpec(
        command=given.command,
        id=given.id,
        priority=given.priority,
        max_retries=given.max_retries,
        backoff_base=_one_of("backoff_base", given.backoff_base, given.base_backoff),
        timeout=_duration("timeout", _one_of("timeout", given.timeout, given.timeout_sec)),
        run_at=None if given.run_at is None else _read("run_at", parse_time, given.run_at),
        delay=_duration("delay", given.delay),
        cwd=given.cwd,
        env=given.env,
        tags=() if given.tags is None else tuple(given.tags),
    )


def _check_is_new(given: JobInput) -> None:
    if given.state not in {None, "pending"}:
        raise InvalidJobError(
            f"a new job is pending, not {given.state!r}", field="state", hint="leave it out"
        )

    if given.attempts:
        raise InvalidJobError("a new job has 0 attempts", field="attempts", hint="leave it out")


def _one_of(field: str, value: Any, alias: Any) -> Any:
    if value is not None and alias is not None and value != alias:
        raise InvalidJobError("given twice under two names, with two values", field=field)

    return alias if value is None else value


def _duration(field: str, value: float | str | None) -> timedelta | None:
    if value is None:
        return None

    return _read(field, parse_duration if isinstance(value, str) else check_duration, value)


def _read(field: str, reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _explain(text: str) -> InvalidJobError:
    """Say what msgspec found in words of ours, with the nearest known name."""
    if unknown := _UNKNOWN.search(text):
        name = unknown[1]
        near = [_HINTS[name]] if name in _HINTS else difflib.get_close_matches(name, _FIELDS, n=1)
        return InvalidJobError(
            f"unknown field {name!r}" + (f", did you mean {near[0]!r}?" if near else ""),
            hint=None if near else f"the fields are: {', '.join(_FIELDS)}",
        )

    if missing := _MISSING.search(text):
        return InvalidJobError("is missing", field=missing[1])

    at = _AT.search(text)
    plain = _AT.sub("", text).replace("`", "").replace("Expected", "expected")

    return InvalidJobError(plain, field=at[1] if at and at[1] else None)


def _malformed(text: str, source: bytes) -> str:
    """Turn msgspec's byte offset into a line and a column, both from 1."""
    problem = _BYTE.sub("", text).removeprefix("JSON is malformed: ")
    found = _BYTE.search(text)
    offset = min(int(found[1]), len(source)) if found else len(source)
    before = source[:offset]
    line = before.count(b"\n") + 1
    column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1

    return f"malformed JSON at line {line}, column {column}: {problem}"
