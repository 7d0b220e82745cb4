"""The JSON API: what the pages show and do, for programs; described by `openapi`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from queuectl import (
    InvalidValueError,
    Job,
    JobState,
    QueueEngine,
    cause_record,
    job_detail_record,
    job_record,
    parse_job,
    status_record,
)
from queuectl.dashboard.bodies import read_body
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.openapi import (
    CancelInput,
    DlqRecord,
    DlqRetryInput,
    JobPageRecord,
    RetriedRecord,
    document,
    parameters_of,
)
from queuectl.dashboard.outputs import MOST_AT_ONCE, output_answer
from queuectl.dashboard.panes.params import number
from queuectl.dashboard.state import state_of

T = TypeVar("T")

Answer = Callable[[Request], Awaitable[Response]]
Change = Callable[[QueueEngine, str, Request], Awaitable[Job]]

_JSON: Final = "application/json"

# Jobs on a page.
_PAGE: Final = 50
# A job may have half a megabyte of command and variables, and a page is in memory at once.
_LARGEST_PAGE: Final = 100

# Of the name of a parameter, where it is told.
_LONGEST_NAME: Final = 40


def routes(*, may_enqueue: bool) -> list[BaseRoute]:
    """
    Return the routes of the API.

    Args:
        may_enqueue: Whether jobs may be added.
    """

    async def describe(request: Request) -> Response:
        return _json(
            document(may_enqueue=may_enqueue, root=request.scope.get("root_path", "").rstrip("/"))
        )

    found: list[BaseRoute] = [
        Route(PATHS[name], _checked(name, answer), name=name) for name, answer in _READING.items()
    ]
    found.append(Route(PATHS["api_document"], describe, name="api_document"))
    found += [
        Route(PATHS[name], _checked(name, _changing(change)), methods=["POST"], name=name)
        for name, change in _CHANGES.items()
    ]
    dlq_retry = _checked("api_dlq_retry", _dlq_retry)
    found.append(Route(PATHS["api_dlq_retry"], dlq_retry, methods=["POST"], name="api_dlq_retry"))

    if may_enqueue:
        enqueue = _checked("api_jobs", _enqueue, method="post")
        found.append(Route(PATHS["api_jobs"], enqueue, methods=["POST"]))

    return found


def _checked(name: str, answer: Answer, *, method: str | None = None) -> Answer:
    """
    Return what refuses parameters that the description does not have.

    A misspelt one would else be taken for none, and the answer for what was asked for.

    Args:
        name: Of the route.
        answer: What answers the rest.
        method: In small letters, where the route has several.
    """
    known = parameters_of(name, method)

    async def check(request: Request) -> Response:
        unknown = next((given for given in request.query_params if given not in known), None)

        if unknown is not None:
            has = f"there are {', '.join(known)}" if known else "there are none here"
            raise InvalidValueError(f"no such parameter: {unknown[:_LONGEST_NAME]!r} ({has})")

        return await answer(request)

    return check


async def _stats(request: Request) -> Response:
    """Return the queue at a glance."""
    tag = request.query_params.get("tag") or None
    return _json(status_record(await state_of(request).engine.stats(tag=tag)))


async def _jobs(request: Request) -> Response:
    """Return a page of jobs, the newest first."""
    query = request.query_params
    page = await state_of(request).engine.page(
        query.get("state") or None,
        tag=query.get("tag") or None,
        search=query.get("search") or None,
        reason=query.get("reason"),
        scheduled=_flag(query.get("scheduled"), "scheduled"),
        before=number(query, "before"),
        limit=number(query, "limit", most=_LARGEST_PAGE) or _PAGE,
    )
    return _json(
        JobPageRecord(
            jobs=[job_record(job) for job in page.jobs],
            older=page.older,
            is_complete=page.is_complete,
        )
    )


async def _job(request: Request) -> Response:
    """Return a job with its runs."""
    engine = state_of(request).engine
    job = await engine.get(request.path_params["job_id"])
    attempts = await engine.attempts(job.id)
    # There may be ten thousands of them, and others ask for something too.
    return await asyncio.to_thread(lambda: _json(job_detail_record(job, attempts)))


async def _output(request: Request) -> Response:
    """Return what a run wrote, or the end of it."""
    query = request.query_params
    return await output_answer(
        state_of(request).engine,
        request.path_params["job_id"],
        attempt=number(query, "attempt"),
        last=number(query, "last", most=MOST_AT_ONCE),
        is_raw=_flag(query.get("raw"), "raw"),
        has_body=request.method != "HEAD",
    )


async def _dlq(request: Request) -> Response:
    """Return a page of the dead letter queue, with the causes of all of it."""
    engine = state_of(request).engine
    query = request.query_params
    page = await engine.page(
        JobState.DEAD,
        reason=query.get("reason"),
        before=number(query, "before"),
        limit=number(query, "limit", most=_LARGEST_PAGE) or _PAGE,
    )
    causes = await engine.dlq.causes()
    return _json(
        DlqRecord(
            jobs=[job_record(job) for job in page.jobs],
            older=page.older,
            is_complete=page.is_complete,
            causes=[cause_record(cause) for cause in causes],
        )
    )


async def _dlq_retry(request: Request) -> Response:
    """Put dead jobs back to pending: some, those of a cause, or all."""
    wanted = await _body(request, DlqRetryInput)
    dlq = state_of(request).engine.dlq
    ways = sum((wanted.ids is not None, wanted.reason is not None, wanted.all))

    if ways != 1:
        raise InvalidValueError("say which: ids, a reason, or all")

    if wanted.ids is not None:
        # An id that is there twice is one job.
        count = len({job.id for job in await dlq.retry(*wanted.ids)})
    else:
        count = await dlq.retry_all(wanted.reason)

    return _json(RetriedRecord(retried=count))


async def _enqueue(request: Request) -> Response:
    """Add a job."""
    _check_kind(request)
    spec = parse_job(await read_body(request))
    [job] = await state_of(request).engine.enqueue_many([spec])
    return _json(job_record(job), 201)


async def _retry(engine: QueueEngine, job_id: str, _: Request) -> Job:
    return (await engine.retry(job_id))[0]


async def _cancel(engine: QueueEngine, job_id: str, request: Request) -> Job:
    return await engine.cancel(job_id, reason=(await _body(request, CancelInput)).reason)


async def _run_now(engine: QueueEngine, job_id: str, _: Request) -> Job:
    return (await engine.run_now(job_id))[0]


_READING: Final[dict[str, Answer]] = {
    "api_stats": _stats,
    "api_jobs": _jobs,
    "api_job": _job,
    "api_job_output": _output,
    "api_dlq": _dlq,
}
_CHANGES: Final[dict[str, Change]] = {
    "api_job_retry": _retry,
    "api_job_cancel": _cancel,
    "api_job_run_now": _run_now,
}


def _changing(change: Change) -> Answer:
    """Return what answers a POST that changes one job: with the job as it is then."""

    async def answer(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return _json(job_record(await change(state_of(request).engine, job_id, request)))

    return answer


async def _body(request: Request, kind: type[T]) -> T:
    """
    Return the body of a request; none is as good as an empty object.

    Raises:
        HTTPException: It is not JSON, or not what is asked for, or does not come.
    """
    raw = await read_body(request)

    if raw:
        _check_kind(request)

    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is not what is asked for: {error}") from None


def _check_kind(request: Request) -> None:
    """Refuse what a form of another site could send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()

    if kind != _JSON:
        raise HTTPException(415, f"the body is sent as {_JSON}")


def _flag(text: str | None, name: str) -> bool:
    if text not in {None, "", "true", "false"}:
        raise InvalidValueError(f"{name} is neither true nor false")

    return text == "true"


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=_JSON)
