"""What was asked for, and how it becomes a complete job."""

import functools
import posixpath
from datetime import datetime, timedelta

from queuectl.engine.domain.durations import check_time
from queuectl.engine.domain.models import Discreet, NewJob, OnCrash
from queuectl.engine.domain.settings import HIGHEST_PRIORITY, MOST_RETRIES, Settings
from queuectl.engine.domain.sizes import LARGEST
from queuectl.engine.domain.spec_rules import (
    check_backoff_base,
    check_command,
    check_env,
    check_id,
    check_moment,
    check_on_crash,
    check_span,
    check_tags,
    check_text,
    check_whole,
)
from queuectl.engine.errors import InvalidJobError


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
    check_command(spec.command)

    if spec.id is not None:
        check_id(spec.id)

    if spec.cwd is not None:
        check_text("cwd", spec.cwd)

    if spec.env is not None:
        check_env(spec.env)

    if spec.tags:
        check_tags(spec.tags)

    _check_numbers(spec)
    _check_times(spec)


def _check_numbers(spec: JobSpec) -> None:
    if spec.priority is not None:
        check_whole("priority", spec.priority, -HIGHEST_PRIORITY, HIGHEST_PRIORITY)

    if spec.max_retries is not None:
        check_whole("max_retries", spec.max_retries, 0, MOST_RETRIES)

    if spec.backoff_base is not None:
        check_backoff_base("backoff_base", spec.backoff_base)

    if spec.max_output_bytes is not None:
        check_whole("max_output_bytes", spec.max_output_bytes, 0, LARGEST)

    # By identity: called for each of many thousands.
    if spec.on_crash is not None and not isinstance(spec.on_crash, OnCrash):
        check_on_crash(spec.on_crash)


def _check_times(spec: JobSpec) -> None:
    if spec.timeout is not None:
        check_span("timeout", spec.timeout)

    if spec.run_at is not None:
        check_moment("run_at", spec.run_at)

    if spec.delay is not None:
        check_span("delay", spec.delay)

    if spec.run_at is not None and spec.delay is not None:
        raise InvalidJobError("give run_at or delay, not both", field="delay")


def _due_time(spec: JobSpec, now: datetime) -> datetime:
    if spec.run_at is not None:
        return check_time(spec.run_at)

    return now if spec.delay is None else now + spec.delay


# Jobs that are added together run in the same folder.
@functools.lru_cache(maxsize=64)
def _folder(cwd: str | None, here: str) -> str:
    folder = here if cwd is None else posixpath.normpath(posixpath.join(here, cwd))

    # The caller's folder comes from the system, where names may be any bytes.
    return check_text("cwd", folder)
