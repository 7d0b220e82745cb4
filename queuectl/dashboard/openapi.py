"""
The description of the JSON API, as an OpenAPI 3.1 document.

The schemas are made from the types that the answers are made from, so they cannot
differ; that every address is here, and answers as it says, is tested.
"""

from typing import Annotated, Any, Final

import msgspec

from queuectl import (
    CauseRecord,
    JobDetailRecord,
    JobInput,
    JobRecord,
    JobState,
    StatusRecord,
    __version__,
)
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.problems import ErrorRecord

_Schema = dict[str, Any]


class JobPageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs. `older` is what to give as `before` for the next, null at the end."""

    jobs: list[JobRecord]
    older: int | None
    is_complete: Annotated[
        bool,
        msgspec.Meta(
            description="false where a search stopped after 50,000 jobs, found or not: `older`"
            " goes on from there"
        ),
    ]


class DlqRecord(JobPageRecord, frozen=True, kw_only=True):
    """A page of the dead letter queue, with the causes of all of it."""

    causes: list[CauseRecord]


class CancelInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a job is cancelled."""

    reason: str | None = None


class DlqRetryInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead jobs are to run again: give one of the three."""

    ids: list[str] | None = None
    reason: str | None = None
    all: bool = False


class RetriedRecord(msgspec.Struct, frozen=True):
    """How many jobs were put back."""

    retried: int


class _Parameter(msgspec.Struct, frozen=True):
    name: str
    words: str
    schema: _Schema


class _Operation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One method of one address.

    Attributes:
        route: The name of the route.
        words: What it does.
        answer: The type of its answer; None for an output.
        status: Of that answer.
        method: In small letters, as the document has it.
        body: The type of its body; None where it has none.
        needs_body: Whether a body has to be there.
        parameters: Of its query.
        problems: The statuses of what may go wrong, but for those of every operation.
    """

    route: str
    words: str
    answer: type | None
    status: int = 200
    method: str = "get"
    body: type | None = None
    needs_body: bool = False
    parameters: tuple[_Parameter, ...] = ()
    problems: tuple[int, ...] = ()


_TEXT: Final[_Schema] = {"type": "string"}
_COUNT: Final[_Schema] = {"type": "integer", "minimum": 1}
_PAGING: Final = (
    _Parameter("before", "go on behind a page: its `older`", _COUNT),
    _Parameter("limit", "jobs on the page; else 50", {**_COUNT, "maximum": 100}),
)
_TAG: Final = _Parameter("tag", "only jobs with this tag", _TEXT)
_REASON: Final = _Parameter(
    "reason", "only jobs with exactly this reason; empty for those without one", _TEXT
)

_OPERATIONS: Final = (
    _Operation(
        route="api_stats",
        words="The queue at a glance.",
        answer=StatusRecord,
        parameters=(_TAG,),
        problems=(400,),
    ),
    _Operation(
        route="api_jobs",
        words="Jobs, the newest first, page by page.",
        answer=JobPageRecord,
        parameters=(
            _Parameter(
                "state",
                "only jobs in this state",
                {"type": "string", "enum": [state.value for state in JobState]},
            ),
            _TAG,
            _Parameter(
                "search",
                "a part of the command, the id or the reason; the job with exactly this id"
                " comes first",
                _TEXT,
            ),
            _REASON,
            _Parameter(
                "scheduled", "only jobs that wait for a time, the next first", {"type": "boolean"}
            ),
            *_PAGING,
        ),
        problems=(400,),
    ),
    _Operation(
        route="api_job", words="A job with its runs.", answer=JobDetailRecord, problems=(400, 404)
    ),
    _Operation(
        route="api_job_output",
        words="What a run of a job wrote: all of it; its last 16 MiB while the run goes on."
        " As text, in which bytes that are not UTF-8 are shown by their code.",
        answer=None,
        parameters=(
            _Parameter("attempt", "the number of the run; else the latest", _COUNT),
            _Parameter("last", "only so many bytes from its end, 16 MiB at the most", _COUNT),
            _Parameter("raw", "as it was written, byte for byte", {"type": "boolean"}),
        ),
        problems=(400, 404),
    ),
    _Operation(
        route="api_job_retry",
        words="Put a failed, dead or cancelled job back to pending.",
        answer=JobRecord,
        method="post",
        problems=(400, 403, 404, 409),
    ),
    _Operation(
        route="api_job_cancel",
        words="Cancel a job; one that runs is ended by its worker.",
        answer=JobRecord,
        method="post",
        body=CancelInput,
        problems=(400, 403, 404, 408, 409, 413, 415),
    ),
    _Operation(
        route="api_job_run_now",
        words="Let a job that waits for a time run now.",
        answer=JobRecord,
        method="post",
        problems=(400, 403, 404, 409),
    ),
    _Operation(
        route="api_dlq",
        words="The dead letter queue, the job that was enqueued last first, page by page.",
        answer=DlqRecord,
        parameters=(_REASON, *_PAGING),
        problems=(400,),
    ),
    _Operation(
        route="api_dlq_retry",
        words="Put dead jobs back to pending: some, those of a cause, or all.",
        answer=RetriedRecord,
        method="post",
        body=DlqRetryInput,
        needs_body=True,
        problems=(400, 403, 404, 408, 409, 413, 415),
    ),
)
_ENQUEUE: Final = _Operation(
    route="api_jobs",
    words="Add a job.",
    answer=JobRecord,
    status=201,
    method="post",
    body=JobInput,
    needs_body=True,
    problems=(400, 403, 408, 409, 413, 415),
)

_WORDS: Final = {
    400: "What was asked for makes no sense.",
    401: "The token is missing, or not the right one.",
    403: "It did not come from one of our pages or with the token; or nothing may be changed.",
    404: "There is no such job, or no such run.",
    408: "The body does not come in time.",
    409: "The job is in a state that does not allow it, or the id is taken.",
    413: "The body has more than 4 MiB.",
    415: "The body is not sent as JSON.",
    421: "The host is none of the dashboard's.",
    503: "The database cannot be used now.",
}
_ALWAYS: Final = (401, 421, 503)


def document(*, may_enqueue: bool, root: str = "") -> _Schema:
    """
    Return the document.

    Args:
        may_enqueue: Whether jobs may be added.
        root: The path under which the dashboard is mounted; empty at the top.
    """
    operations = (*_OPERATIONS, _ENQUEUE) if may_enqueue else _OPERATIONS
    types = {kind for op in operations for kind in (op.answer, op.body) if kind} | {ErrorRecord}
    _, schemas = msgspec.json.schema_components(
        sorted(types, key=lambda kind: kind.__name__),
        ref_template="#/components/schemas/{name}",
    )
    paths: dict[str, _Schema] = {}

    for op in operations:
        paths.setdefault(PATHS[op.route], {})[op.method] = _operation(op)

    return {
        "openapi": "3.1.0",
        "info": {"title": "queuectl", "version": __version__},
        "servers": [{"url": root or "/"}],
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def parameters_of(route: str, method: str | None = None) -> tuple[str, ...]:
    """
    Return the names of the parameters that an operation takes in its query.

    Args:
        route: The name of its route.
        method: In small letters; None for the only one, or the one that reads.
    """
    operations = (op for op in (*_OPERATIONS, _ENQUEUE) if method in {None, op.method})
    return tuple(p.name for p in next(op for op in operations if op.route == route).parameters)


def _operation(op: _Operation) -> _Schema:
    found: _Schema = {
        "operationId": f"{op.method}_{op.route.removeprefix('api_')}",
        "summary": op.words,
        "parameters": [
            *[_path_parameter(name) for name in ("job_id",) if name in PATHS[op.route]],
            *[
                {"name": p.name, "in": "query", "description": p.words, "schema": p.schema}
                for p in op.parameters
            ],
        ],
        "responses": {
            str(op.status): {"description": op.words, "content": _content(op.answer)},
            **{
                str(status): {"description": _WORDS[status], "content": _content(ErrorRecord)}
                for status in sorted({*op.problems, *_ALWAYS})
            },
        },
    }

    if op.body is not None:
        found["requestBody"] = {"required": op.needs_body, "content": _content(op.body)}

    return found


def _path_parameter(name: str) -> _Schema:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _content(kind: type | None) -> _Schema:
    if kind is None:
        return {"text/plain": {"schema": _TEXT}, "application/octet-stream": {}}

    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
