"""Errors as answers: a page for a person, JSON for a program."""

import logging
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route

from queuectl import (
    DuplicateJobError,
    EngineClosedError,
    JobNotFoundError,
    JobStateError,
    LeftoverProcessError,
    OutputMissingError,
    QueueCtlError,
    RunNotFoundError,
    StoreError,
    WaitTimeoutError,
    WorkerNotFoundError,
    WorkerStateError,
)
from queuectl.dashboard.access import SECURITY_HEADERS, path_of
from queuectl.dashboard.panes.error import error_view
from queuectl.dashboard.templates import render

_log = logging.getLogger(__name__)

# What is not here, and is a ValueError, was asked for wrongly.
_STATUSES: Final[dict[type[QueueCtlError], int]] = {
    JobNotFoundError: 404,
    RunNotFoundError: 404,
    OutputMissingError: 404,
    WorkerNotFoundError: 404,
    DuplicateJobError: 409,
    JobStateError: 409,
    WorkerStateError: 409,
    LeftoverProcessError: 409,
    WaitTimeoutError: 503,
    EngineClosedError: 503,
    StoreError: 503,
}

# For the words of Starlette.
_WORDS: Final = {
    "Not Found": "there is no such page",
    "Method Not Allowed": "this address cannot be used in that way",
}
_HINTS: Final = {404: "look at how the address is written"}


class ErrorBody(msgspec.Struct, frozen=True):
    """
    What is wrong.

    Attributes:
        code: The HTTP status.
        message: What is wrong, in one sentence.
        hint: What to do about it, or None.
    """

    code: int
    message: str
    hint: str | None


class ErrorRecord(msgspec.Struct, frozen=True):
    """The JSON form of an error, as the command line's, with an HTTP status for the exit code."""

    error: ErrorBody


def answer_problem(
    request: Request,
    status: int,
    message: str,
    hint: str | None = None,
    *,
    is_of_jobs: bool = False,
) -> Response:
    """
    Return the answer that says what is wrong, in the form that the asker reads.

    Args:
        request: What was asked.
        status: The HTTP status.
        message: What is wrong.
        hint: What to do about it.
        is_of_jobs: Whether it is about a job that is not there.
    """
    path = path_of(request.scope)

    if path.startswith("/static/"):
        return PlainTextResponse(f"{message}\n", status)

    if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        record = ErrorRecord(ErrorBody(status, message, hint))
        return Response(msgspec.json.encode(record), status, media_type="application/json")

    # A page has a link where a terminal has a command.
    view = error_view(status, message, None if is_of_jobs else hint, is_of_jobs=is_of_jobs)
    return render(request, "error", view, status=status)


def status_of(error: QueueCtlError) -> int:
    """Return the HTTP status that an error of the engine is answered with."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return _STATUSES[kind]

    return 400 if isinstance(error, ValueError) else 500


async def answer_engine_error(request: Request, error: Exception) -> Response:
    """Answer a request that the engine refused."""
    assert isinstance(error, QueueCtlError)  # noqa: S101 (registered for it alone)
    is_of_jobs = isinstance(error, JobNotFoundError)
    return answer_problem(request, status_of(error), str(error), error.hint, is_of_jobs=is_of_jobs)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that Starlette or a handler of ours refused."""
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for it alone)
    words = _WORDS.get(error.detail, error.detail)
    answer = answer_problem(request, error.status_code, words, _HINTS.get(error.status_code))
    answer.headers.update(error.headers or {})

    if "allow" in answer.headers:
        # Starlette tells of one route; an address may have another for its other methods.
        answer.headers["allow"] = ", ".join(sorted(_methods(request)))

    return answer


def _methods(request: Request) -> set[str]:
    """Return the methods that an address takes."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    here = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in here for method in route.methods or ()}


async def answer_bug(request: Request, error: Exception) -> Response:
    """
    Answer a request on which we failed; the server logs the traceback.

    Starlette calls this outside of every middleware, so the headers are ours to set.
    """
    _log.error("%s on %s %s", type(error).__name__, request.method, request.url.path)
    message = "the dashboard failed"
    answer = answer_problem(request, 500, message, "its log has the details; this is a bug")
    answer.headers.update({**SECURITY_HEADERS, "cache-control": "no-store"})
    return answer
