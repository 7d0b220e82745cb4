"""Jobs as JSON: one object, an array of them, or one object a line."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from queuectl.engine.domain.durations import check_duration, parse_duration, parse_time
from queuectl.engine.domain.job_messages import explain
from queuectl.engine.domain.models import Discreet
from queuectl.engine.domain.sizes import parse_size
from queuectl.engine.domain.spec import JobSpec, check
from queuectl.engine.domain.spec_rules import check_backoff_base, check_on_crash
from queuectl.engine.errors import (
    InvalidInputError,
    InvalidJobError,
    InvalidValueError,
    named,
    quoted,
)

_T = TypeVar("_T")


class JobInput(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    The JSON object that a job is enqueued from; only ``command`` is needed.

    ``timeout`` and ``timeout_sec`` are the same, as are ``backoff_base`` and
    ``base_backoff``. ``state`` and ``attempts`` are taken as long as they say
    what the queue will say itself: a new job is pending and has no attempts.
    ``created_at`` and ``updated_at`` have to be times, and are not kept.
    """

    command: str
    id: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    backoff_base: float | None = None
    base_backoff: float | None = None
    timeout: float | str | None = None
    timeout_sec: float | str | None = None
    on_crash: str | None = None
    max_output_bytes: int | str | None = None
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
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_job(text: bytes) -> JobSpec:
    """
    Read one job from a JSON object, and check it as far as that needs no config.

    Raises:
        InvalidJobError: It is not one; the error says where and what is wrong.
    """
    return _parse(text)


def parse_jobs(given: bytes | str) -> list[JobSpec]:
    """
    Read jobs from an object, an array of objects, or one object a line.

    Every job is checked as by `parse_job`. Empty lines are passed over.

    Returns:
        The jobs, in the order of the input; empty where the input is.

    Raises:
        InvalidJobError: The input is a single object or array, and malformed.
        InvalidInputError: Some of several are wrong, or an id stands twice; it
            names every one.
    """
    text = given.encode(errors="surrogatepass") if isinstance(given, str) else given
    text = text.removeprefix(b"\xef\xbb\xbf")
    start = text.lstrip()[:1]

    if start == b"[":
        return _parse_all(_elements(text), unit="element")

    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]

    if len(lines) == 1 or (start == b"{" and _is_one_object(text)):
        return [parse_job(text)]

    return _parse_all(lines, unit="line")


def _is_one_object(text: bytes) -> bool:
    """Tell an object over several lines from one object a line, also where it is malformed."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except _BROKEN:
        lines = map(bytes.strip, text.split(b"\n"))
        return not any(line.startswith(b"{") and line.endswith(b"}") for line in lines)

    return True


def _elements(text: bytes) -> list[tuple[int, bytes]]:
    try:
        raws = msgspec.json.decode(text, type=list[msgspec.Raw])
    except _BROKEN as error:
        raise explain(error, text, _FIELDS) from None

    return [(number, bytes(raw)) for number, raw in enumerate(raws, 1)]


def _parse_all(pieces: Iterable[tuple[int, bytes]], *, unit: str) -> list[JobSpec]:
    specs: list[JobSpec] = []
    refusals: list[tuple[int, InvalidJobError]] = []
    places: dict[str, int] = {}

    for place, piece in pieces:
        try:
            spec = _parse(piece, is_line=unit == "line")
        except InvalidJobError as error:
            refusals.append((place, error))
            continue

        if spec.id is not None and places.setdefault(spec.id, place) != place:
            problem = f"{named(spec.id)} is the id of {unit} {places[spec.id]} already"
            refusals.append((place, InvalidJobError(problem, field="id")))

        specs.append(spec)

    if refusals:
        raise _refuse_all(refusals, unit)

    return specs


def _refuse_all(refusals: list[tuple[int, InvalidJobError]], unit: str) -> InvalidInputError:
    # Few rules have a hint, and many lines may break the same one.
    hints = dict.fromkeys(error.hint for _, error in refusals if error.hint)
    problems = [(place, str(error)) for place, error in refusals]
    return InvalidInputError(unit, problems, hint="; ".join(hints) or None)


def _parse(text: bytes, *, is_line: bool = False) -> JobSpec:
    try:
        given = _DECODER.decode(text)
    except _BROKEN as error:
        raise explain(error, text, _FIELDS, is_line=is_line) from None

    spec = _spec(given)
    check(spec)
    return spec


def _spec(given: JobInput) -> JobSpec:
    _check_is_new(given)

    if given.base_backoff is not None:
        check_backoff_base("base_backoff", given.base_backoff)

    timeout = _duration("timeout", given.timeout)
    timeout_sec = _duration("timeout_sec", given.timeout_sec)

    return JobSpec(
        command=given.command,
        id=given.id,
        priority=given.priority,
        max_retries=given.max_retries,
        backoff_base=_either("backoff_base", given.backoff_base, given.base_backoff),
        timeout=_either("timeout", timeout, timeout_sec),
        on_crash=None if given.on_crash is None else check_on_crash(given.on_crash),
        max_output_bytes=_size("max_output_bytes", given.max_output_bytes),
        run_at=_time("run_at", given.run_at),
        delay=_duration("delay", given.delay),
        cwd=given.cwd,
        env=given.env,
        tags=() if given.tags is None else tuple(given.tags),
    )


def _check_is_new(given: JobInput) -> None:
    if given.state is not None and given.state != "pending":
        raise InvalidJobError(
            f"a new job is pending, not {quoted(given.state)}",
            field="state",
            hint="leave state out",
        )

    if given.attempts:
        raise InvalidJobError(
            "a new job has 0 attempts", field="attempts", hint="leave attempts out"
        )

    _time("created_at", given.created_at)
    _time("updated_at", given.updated_at)


def _either(field: str, value: _T | None, alias: _T | None) -> _T | None:
    if value is not None and alias is not None and value != alias:
        raise InvalidJobError("given twice under two names, with two values", field=field)

    return alias if value is None else value


def _duration(field: str, value: float | str | None) -> timedelta | None:
    if value is None:
        return None

    try:
        return parse_duration(value) if isinstance(value, str) else check_duration(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _size(field: str, value: int | str | None) -> int | None:
    if not isinstance(value, str):
        return value

    try:
        return parse_size(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error


def _time(field: str, value: str | None) -> datetime | None:
    if value is None:
        return None

    try:
        return parse_time(value)
    except InvalidValueError as error:
        raise InvalidJobError(str(error), field=field) from error
