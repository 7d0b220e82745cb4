"""The web application, served by uvicorn on a port that the system chose."""

# ruff: noqa: TID251 (uvicorn is a process of its own here, as it is for users)

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from queuectl import Job, JobState, QueueEngine
from tests.examples.programs import EXAMPLES, environment, started

SERVER = (sys.executable, "-m", "uvicorn", "--app-dir", EXAMPLES, "webapp:app", "--port", "0")


class Site(NamedTuple):
    """A running application."""

    client: httpx2.Client
    process: "subprocess.Popen[bytes]"
    folder: Path

    def jobs(self) -> list[Job]:
        """Return what is in its queue; the application may have ended."""

        async def read() -> list[Job]:
            async with QueueEngine(self.folder / "webapp.db") as engine:
                return await engine.list()

        return asyncio.run(read())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path) as site:
        yield site


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    with started(*SERVER, folder=folder, env=environment(folder)) as process:
        url = listening_at(process)

        with httpx2.Client(base_url=url, timeout=15) as client:
            yield Site(client, process, folder)


def listening_at(process: "subprocess.Popen[bytes]") -> str:
    """Return the address that uvicorn prints once the lifespan has begun."""
    lines = []
    log = process.stdout
    assert log is not None

    for line in log:
        lines.append(line.decode())

        if found := re.search(r"running on (\S+)", lines[-1]):
            return found[1]

    pytest.fail(f"it did not start:\n{''.join(lines)}")


def test_a_request_queues_a_task_and_its_output_is_streamed_live(site: Site) -> None:
    accepted = site.client.post("/jobs", json={"task": "count", "to": 4})
    place = accepted.headers["Location"]

    with site.client.stream("GET", f"{place}/output") as answer:
        chunks = answer.iter_text()
        first = next(chunks)
        meanwhile = site.client.get(place).json()
        rest = "".join(chunks)

    assert accepted.status_code == 202
    assert first.startswith("1\n")
    assert meanwhile["state"] == "processing"
    assert first + rest == "1\n2\n3\n4\n"
    assert site.client.get(place).json()["exit_code"] == 0


def test_text_from_the_web_is_never_code(site: Site) -> None:
    text = '\'; touch pwned; "$(touch pwned)" `touch pwned`\n-n \\x'

    accepted = site.client.post("/jobs", json={"task": "shout", "text": text})
    output = site.client.get(f"{accepted.headers['Location']}/output").text

    assert output == text.upper() + "\n"
    assert not (site.folder / "pwned").exists()


@pytest.mark.parametrize(
    "body",
    [
        b'{"task": "count", "to": "3; id"}',
        b'{"task": "count", "to": 1001}',
        b'{"task": "count", "to": 1, "command": "id"}',
        b'{"task": "rm"}',
        b'{"task": "shout", "text": "\\u0000"}',
        b'{"task": "shout", "text": "\xff"}',
        b"{",
        b"",
    ],
)
def test_what_is_no_task_is_refused(site: Site, body: bytes) -> None:
    answer = site.client.post("/jobs", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert site.jobs() == []


@pytest.mark.parametrize("place", ["/jobs/unknown", "/jobs/unknown/output"])
def test_an_unknown_job_is_not_found(site: Site, place: str) -> None:
    answer = site.client.get(place)

    assert answer.status_code == 404
    assert answer.json() == {"error": "no such job: unknown"}


@pytest.mark.slow
def test_it_stops_cleanly_and_gives_back_what_still_runs(site: Site) -> None:
    place = site.client.post("/jobs", json={"task": "count", "to": 50}).headers["Location"]

    with site.client.stream("GET", f"{place}/output") as answer:
        next(answer.iter_text())

    site.process.send_signal(signal.SIGTERM)
    output, _ = site.process.communicate()
    log = output.decode()

    # Uvicorn cleans up, and then lets the signal do what it does.
    assert site.process.returncode == -signal.SIGTERM, log
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    assert [(job.state, job.attempts) for job in site.jobs()] == [(JobState.PENDING, 0)]
