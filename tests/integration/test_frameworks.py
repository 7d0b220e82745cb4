"""Engines under the test frameworks and the web frameworks that people use, and in threads."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from queuectl import JobState, QueueEngine
from tests.integration.processes import run_python

# anyio's plugin takes every asynchronous test where it is in auto mode, as it is
# here: pytest-asyncio has this module to itself, in a process of its own.
SETTINGS = """
[pytest]
addopts = -q -p no:anyio -p no:cacheprovider -p no:xdist
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
OF_PYTEST_ASYNCIO = """
import pytest
import pytest_asyncio
from queuectl import QueueEngine

@pytest_asyncio.fixture
async def engine(tmp_path):
    async with QueueEngine(tmp_path / "queue.db") as engine, engine.workers(2):
        yield engine

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(2))
async def test_a_job_runs(engine, number):
    job = await engine.enqueue("echo hello")
    job = await engine.wait(job.id, timeout=5)
    assert await engine.output(job.id) == "hello\\n"
"""


async def test_an_engine_is_a_fixture_of_pytest_asyncio(tmp_path: Path) -> None:
    settings = tmp_path / "pytest.ini"
    settings.write_text(SETTINGS)
    (tmp_path / "test_engine.py").write_text(OF_PYTEST_ASYNCIO)

    code, text = await run_python("-m", "pytest", "-c", str(settings), str(tmp_path))

    assert "2 passed" in text
    assert code == 0


@pytest.fixture
async def engine_of_anyio(tmp_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(tmp_path / "anyio.db") as engine, engine.workers(2):
        yield engine


@pytest.mark.anyio
async def test_an_engine_is_a_fixture_of_anyio(engine_of_anyio: QueueEngine) -> None:
    job = await engine_of_anyio.enqueue("echo hello")
    job = await engine_of_anyio.wait(job.id, timeout=5)

    assert await engine_of_anyio.output(job.id) == "hello\n"


def application(database: Path) -> Starlette:
    """Make a web application that runs commands."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with QueueEngine(database) as engine, engine.workers(2):
            app.state.engine = engine
            yield

    async def enqueue(request: Request) -> Response:
        body = await request.json()
        job = await request.app.state.engine.enqueue(body["command"])
        return JSONResponse({"id": job.id}, status_code=202)

    async def output(request: Request) -> Response:
        return StreamingResponse(request.app.state.engine.follow(request.path_params["id"]))

    async def wait(request: Request) -> Response:
        job = await request.app.state.engine.wait(request.path_params["id"], timeout=5)
        return JSONResponse({"state": job.state, "exit_code": job.exit_code})

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/jobs", enqueue, methods=["POST"]),
            Route("/jobs/{id}", wait),
            Route("/jobs/{id}/output", output),
        ],
    )


def test_an_engine_lives_in_the_lifespan_of_a_web_application(tmp_path: Path) -> None:
    with TestClient(application(tmp_path / "queue.db")) as client:
        ids = [
            client.post("/jobs", json={"command": f"echo {n}; exit {n}"}).json()["id"]
            for n in range(2)
        ]
        first = client.get(f"/jobs/{ids[0]}").json()
        output = client.get(f"/jobs/{ids[0]}/output").text

    assert first == {"state": "completed", "exit_code": 0}
    assert output == "0\n"
    assert list((tmp_path / "queue.db-run" / "wake").iterdir()) == []
    assert list((tmp_path / "queue.db-run" / "workers").iterdir()) == []


def test_an_engine_runs_jobs_in_the_loop_of_another_thread(tmp_path: Path) -> None:
    outputs: list[str] = []

    async def work() -> None:
        async with QueueEngine(tmp_path / "queue.db") as engine:
            job = await engine.enqueue("echo from a thread")
            await engine.drain()
            outputs.append(await engine.output(job.id))

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    thread.join(20)

    assert not thread.is_alive()
    assert outputs == ["from a thread\n"]


def test_an_engine_works_in_the_debug_mode_of_asyncio(tmp_path: Path) -> None:
    async def work() -> JobState:
        async with QueueEngine(tmp_path / "queue.db") as engine:
            job = await engine.enqueue("exit 1", max_retries=1, backoff_base=0)
            async with engine.workers(2):
                job = await engine.wait(job.id, timeout=10)
            return job.state

    assert asyncio.run(work(), debug=True) is JobState.DEAD


def test_engines_of_one_loop_after_the_other_share_nothing(tmp_path: Path) -> None:
    engine = QueueEngine(tmp_path / "queue.db")

    async def work() -> int:
        async with engine:
            await engine.enqueue("true")
            await engine.drain()
            return (await engine.stats()).counts[JobState.COMPLETED]

    assert [asyncio.run(work()) for _ in range(3)] == [1, 2, 3]


async def test_the_loop_goes_on_while_jobs_write_as_fast_as_they_can(
    engine: QueueEngine,
) -> None:
    time = asyncio.get_running_loop().time
    waits: list[float] = []

    async def tick() -> None:
        while True:
            before = time()
            await asyncio.sleep(0.005)
            waits.append(time() - before - 0.005)

    ticking = asyncio.create_task(tick())
    jobs = await engine.enqueue_many(["yes | head -c 30000000"] * 4)

    async with engine.workers(4):
        await engine.wait_all([job.id for job in jobs], timeout=25)
    ticking.cancel()

    # A machine that is busy may hold up a few; an engine that blocks holds up many.
    late = sorted(waits)[: max(1, len(waits) - 3)]
    assert len(waits) > 5
    assert late[-1] < 0.05
    assert [run.output_bytes for job in jobs for run in await engine.attempts(job.id)] == [
        30_000_000
    ] * 4
