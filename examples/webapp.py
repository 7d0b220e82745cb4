"""
A web application that queues commands and streams their output, with the workers inside.

Run it with ``uvicorn --app-dir examples webapp:app --timeout-graceful-shutdown 5`` (it
needs ``pip install starlette uvicorn`` beside queuectl), then ask it:

    curl -d '{"task": "count", "to": 10}' localhost:8000/jobs
    curl -N localhost:8000/jobs/ID/output
    curl localhost:8000/jobs/ID

The jobs are in the file ``webapp.db``: when the application stops, what still runs is
given back to the queue, and starts again with it. ``queuectl --db webapp.db list`` shows
them.

Who sends a request chooses among the tasks below, and never writes a command. Numbers
have a range; text reaches the shell in a variable, where it is not read as code.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from queuectl import JobNotFoundError, QueueCtlError, QueueEngine, job_record


class Count(msgspec.Struct, tag_field="task", tag="count", forbid_unknown_fields=True):
    """Count aloud, five numbers a second."""

    to: Annotated[int, msgspec.Meta(ge=1, le=1000)]

    def parts(self) -> tuple[str, dict[str, str]]:
        """Return the command and its variables."""
        return f"i=0; while [ $((i += 1)) -le {self.to} ]; do echo $i; sleep 0.2; done", {}


class Shout(msgspec.Struct, tag_field="task", tag="shout", forbid_unknown_fields=True):
    """Repeat a text in capitals."""

    text: Annotated[str, msgspec.Meta(max_length=1000)]

    def parts(self) -> tuple[str, dict[str, str]]:
        """Return the command and its variables."""
        return """printf '%s\\n' "$TEXT" | tr a-z A-Z""", {"TEXT": self.text}


TASK = msgspec.json.Decoder(Count | Shout)


async def enqueue(request: Request) -> Response:
    """Queue a task."""
    command, env = TASK.decode(await request.body()).parts()
    job = await engine_of(request).enqueue(command, env=env, timeout=300)
    place = str(request.url_for("status", job_id=job.id))
    return Response(
        msgspec.json.encode(job_record(job)), 202, {"Location": place}, "application/json"
    )


async def status(request: Request) -> Response:
    """Show a job as it is now."""
    job = await engine_of(request).get(request.path_params["job_id"])
    return Response(msgspec.json.encode(job_record(job)), media_type="application/json")


async def output(request: Request) -> Response:
    """Stream what a job writes until it is finished; one that waits is waited for."""
    engine = engine_of(request)
    job = await engine.get(request.path_params["job_id"])  # an unknown one is refused here
    return StreamingResponse(engine.follow(job.id), media_type="text/plain; charset=utf-8")


def engine_of(request: Request) -> QueueEngine:
    """Return the engine that the lifespan opened."""
    engine: QueueEngine = request.state.engine
    return engine


async def refuse(_: Request, error: Exception) -> Response:
    """Say what is wrong with a request."""
    match error:
        case JobNotFoundError():
            code = 404
        case QueueCtlError() if not isinstance(error, ValueError):
            code = 503
        case _:
            code = 400

    return JSONResponse({"error": str(error)}, code)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, QueueEngine]]:
    """Hold the engine, and four slots that work, while the application runs."""
    async with QueueEngine("webapp.db") as engine, engine.workers(concurrency=4, grace=2):
        yield {"engine": engine}


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/jobs", enqueue, methods=["POST"]),
        Route("/jobs/{job_id}", status),
        Route("/jobs/{job_id}/output", output),
    ],
    exception_handlers={
        QueueCtlError: refuse,
        msgspec.DecodeError: refuse,
        UnicodeDecodeError: refuse,
    },
)
