"""What the forms of the pages do: each is a POST, and is answered with the way back."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from queuectl import (
    SETTINGS,
    ConfigError,
    DuplicateJobError,
    InvalidJobError,
    InvalidValueError,
    JobNotFoundError,
    JobStateError,
    QueueEngine,
    WaitTimeoutError,
    parse_job,
    parse_time,
)
from queuectl.dashboard.bodies import read_body
from queuectl.dashboard.links import PATHS, Links, noted
from queuectl.dashboard.panes.config import Refused, config_view
from queuectl.dashboard.panes.confirm import finished_for, given
from queuectl.dashboard.panes.enqueue import enqueue_view
from queuectl.dashboard.seen import SeenJob, seen_jobs
from queuectl.dashboard.state import state_of
from queuectl.dashboard.templates import render

Form = QueryParams

_URLENCODED: Final = "application/x-www-form-urlencoded"

# Bytes of a form: the longest command takes 360 KiB, for most characters are three there.
_LARGEST_FORM: Final = 512 * 1024

# A page has 50 rows to tick.
_MOST_FIELDS: Final = 1000


class Done(msgspec.Struct, frozen=True):
    """
    What an action did, as the page that comes next tells it.

    Attributes:
        code: One of the codes that `render` knows the words of.
        count: How many it was done to.
        skipped: How many it could not be done to, as they are now.
    """

    code: str
    count: int = 1
    skipped: int = 0


Action = Callable[[QueueEngine, Form], Awaitable[Done]]

_NOTHING: Final = Done("none", 0)


def routes(*, may_enqueue: bool) -> list[BaseRoute]:
    """
    Return the routes of the forms.

    Args:
        may_enqueue: Whether jobs may be added.
    """
    found: list[BaseRoute] = [
        Route(PATHS[name], _endpoint(action, otherwise), methods=["POST"], name=name)
        for name, (action, otherwise) in _ACTIONS.items()
    ]
    found.append(Route(PATHS["config"], _set_config, methods=["POST"]))

    if may_enqueue:
        found.append(Route(PATHS["enqueue"], _enqueue, methods=["POST"]))

    return found


async def read_form(request: Request) -> Form:
    """
    Return the fields of a form.

    Raises:
        HTTPException: It is no form, or not UTF-8, or too large, or does not come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()

    if kind != _URLENCODED:
        raise HTTPException(415, f"a form is sent as {_URLENCODED}")

    body = await read_body(request, most=_LARGEST_FORM)

    # To take a form apart holds everybody else up.
    if body.count(b"&") >= _MOST_FIELDS:
        raise HTTPException(413, f"a form has at most {_MOST_FIELDS:,} fields")

    try:
        # What is no text is not replaced: it would be another command.
        return QueryParams(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise HTTPException(400, "this is not a form in UTF-8") from None


def _endpoint(action: Action, otherwise: str) -> Callable[[Request], Awaitable[Response]]:
    """
    Return what answers the POST of a form.

    Args:
        action: What it does.
        otherwise: The page to go to where the form does not say which.
    """

    async def act(request: Request) -> Response:
        form = await read_form(request)
        done = await action(state_of(request).engine, form)
        back = _links(request).back(form.get("back"), otherwise=otherwise)
        place = noted(back, done.code, done.count, skipped=done.skipped)
        return RedirectResponse(place, 303)

    return act


async def _retry(engine: QueueEngine, form: Form) -> Done:
    async def retry(seen: SeenJob) -> None:
        await engine.retry(seen.id, seqs=seen.seqs)

    return await _to_each("retried", form, retry)


async def _cancel(engine: QueueEngine, form: Form) -> Done:
    reason = form.get("reason", "").strip() or None

    async def cancel(seen: SeenJob) -> None:
        await engine.cancel(seen.id, reason=reason, seq=seen.seq)

    return await _to_each("cancelled", form, cancel)


async def _delete(engine: QueueEngine, form: Form) -> Done:
    gone: list[str] = []

    async def delete(seen: SeenJob) -> None:
        # One that is gone already is what was asked for: no error, and not our doing.
        try:
            await engine.delete(seen.id, updated_at=seen.updated_at, seq=seen.seq)
        except JobNotFoundError:
            gone.append(seen.id)

    done = await _to_each("deleted", form, delete)
    return Done(done.code, done.count - len(gone), done.skipped + len(gone))


async def _run_now(engine: QueueEngine, form: Form) -> Done:
    async def run_now(seen: SeenJob) -> None:
        await engine.run_now(seen.id, seqs=seen.seqs)

    return await _to_each("due", form, run_now)


async def _to_each(code: str, form: Form, change: Callable[[SeenJob], Awaitable[None]]) -> Done:
    """
    Change jobs, and count those that are not what they were when they were ticked.

    All at once: the store writes together what waits together.

    Raises:
        JobNotFoundError: There is one id, and no such job.
        JobStateError: There is one id, and its job cannot be changed so, or is another.
    """
    jobs = seen_jobs(form.getlist("job"))

    if not jobs:
        return _NOTHING

    ends = await asyncio.gather(*map(change, jobs), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    skipped = [error for error in errors if isinstance(error, JobNotFoundError | JobStateError)]

    # Who asked for one is told all about it.
    if errors and (len(jobs) == 1 or len(skipped) < len(errors)):
        raise next((error for error in errors if error not in skipped), errors[0])

    return Done(code, len(jobs) - len(skipped), len(skipped))


async def _dlq_retry(engine: QueueEngine, form: Form) -> Done:
    return Done("retried", await engine.dlq.retry_all(_reason(form), until=_until(engine, form)))


async def _dlq_purge(engine: QueueEngine, form: Form) -> Done:
    return Done("purged", await engine.dlq.purge(_reason(form), until=_until(engine, form)))


async def _purge(engine: QueueEngine, form: Form) -> Done:
    states = given(form, "state")

    if not states:
        return _NOTHING

    older_than, until = finished_for(form), _until(engine, form)

    # Meant is what had been finished for so long when that was asked.
    if until is not None:
        older_than += max(engine.now() - until, timedelta())

    return Done("purged", await engine.purge(states, older_than=older_than))


async def _drain(engine: QueueEngine, form: Form) -> Done:
    return await _stop_workers(engine, form, code="draining", now=False)


async def _stop(engine: QueueEngine, form: Form) -> Done:
    return await _stop_workers(engine, form, code="stopping", now=True)


async def _stop_workers(engine: QueueEngine, form: Form, *, code: str, now: bool) -> Done:
    ids = given(form, "worker")

    if not ids:
        return _NOTHING

    # They are told, and go when they can; the page shows it.
    with suppress(WaitTimeoutError):
        await engine.stop_workers(ids, now=now, timeout=0)

    return Done(code, len(ids))


async def _unset_config(engine: QueueEngine, form: Form) -> Done:
    await engine.config.unset(form.get("key", ""))
    return Done("unset")


# By the name of the route: what it does, and the page that it belongs to.
_ACTIONS: Final[Mapping[str, tuple[Action, str]]] = {
    "retry": (_retry, "jobs"),
    "cancel": (_cancel, "jobs"),
    "delete": (_delete, "jobs"),
    "run_now": (_run_now, "scheduled"),
    "dlq_retry": (_dlq_retry, "dlq"),
    "dlq_purge": (_dlq_purge, "dlq"),
    "purge": (_purge, "database"),
    "drain": (_drain, "workers"),
    "stop": (_stop, "workers"),
    "config_unset": (_unset_config, "config"),
}


async def _set_config(request: Request) -> Response:
    """Set a key; a value that is refused is shown again, with the reason."""
    form = await read_form(request)
    config = state_of(request).engine.config
    key, value = form.get("key", ""), form.get("value", "")

    try:
        await config.set(key, value)
    except ConfigError as error:
        if key not in SETTINGS:
            raise

        refused = Refused(key=key, value=value, message=str(error))
        view = config_view(await config.show(), refused=refused)
        return render(request, "config", view, status=422)

    return RedirectResponse(noted(_links(request).to("config"), "set"), 303)


async def _enqueue(request: Request) -> Response:
    """Add a job; what is refused is shown again, with the reason."""
    form = await read_form(request)
    entered = dict(form)

    try:
        [job] = await state_of(request).engine.enqueue_many([parse_job(_job_json(entered))])
    except InvalidJobError as error:
        view = enqueue_view(entered, problem=error.problem, field=error.field)
        return render(request, "enqueue", view, status=422)
    except DuplicateJobError as error:
        view = enqueue_view(entered, problem=str(error), field="id")
        return render(request, "enqueue", view, status=422)

    place = _links(request).to("job", job_id=job.id)
    return RedirectResponse(noted(place, "enqueued"), 303)


def _job_json(entered: Mapping[str, str]) -> bytes:
    """
    Return what was entered as the JSON of a job, which is checked where it is read.

    Raises:
        InvalidJobError: A number is none.
    """
    said = {name: entered[name] for name in _TEXTS if entered.get(name, "").strip()}
    # As it was typed, but for the ends of lines, which forms send as two characters:
    # a shell would take the first for a part of the line.
    command = entered.get("command", "").replace("\r\n", "\n")
    job: dict[str, object] = {**said, "command": command}
    job |= {name: _whole(name, entered[name]) for name in _NUMBERS if entered.get(name, "").strip()}
    tags = [tag.strip() for tag in entered.get("tags", "").split(",")]
    return msgspec.json.encode(job | {"tags": [tag for tag in tags if tag]})


_TEXTS: Final = ("id", "timeout", "delay", "run_at", "cwd")
_NUMBERS: Final = ("priority", "max_retries")
_WHOLE: Final = re.compile("-?[0-9]{1,18}")


def _whole(name: str, text: str) -> int:
    # Python takes more for a number than its reader does: 1_0, and digits of other scripts.
    if not _WHOLE.fullmatch(text.strip()):
        raise InvalidJobError(f"{text[:40]!r} is not a whole number", field=name)

    return int(text)


def _reason(form: Form) -> str | None:
    """
    Return the cause that is meant, None for all.

    Raises:
        InvalidValueError: Neither was said; all of them is not guessed.
    """
    reason = form.get("reason")

    # Empty for those that died without one. Forms send the ends of lines as two characters.
    if reason is not None:
        return reason.replace("\r\n", "\n")

    if form.get("all") != "yes":
        raise InvalidValueError("say which: a reason, or all")

    return None


def _until(engine: QueueEngine, form: Form) -> datetime | None:
    """
    Return as of when jobs are meant that were asked about, None where nothing was asked.

    Raises:
        InvalidValueError: It is not a time, or one that has not come yet.
    """
    text = form.get("until")

    if text is None:
        return None

    # What has happened since the question would be before it.
    if (until := parse_time(text)) > engine.now():
        raise InvalidValueError("the clock was set back since this was asked: ask again")

    return until


def _links(request: Request) -> Links:
    return Links(request.scope.get("root_path", "").rstrip("/"))
