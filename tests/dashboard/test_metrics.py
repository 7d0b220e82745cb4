"""The metrics behind the dashboard's token."""

import sys

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from queuectl import QueueEngine
from queuectl.dashboard import create_dashboard
from queuectl.metrics import CONTENT_TYPE
from tests.dashboard.serving import Served
from tests.metrics.reading import parse


async def test_who_has_the_token_gets_them(site: Served) -> None:
    await site.engine.enqueue("true")

    answer = await site.client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.headers["cache-control"] == "no-store"
    assert parse(answer.content)["queuectl_jobs_enqueued_total"] == 1


async def test_a_browser_that_is_signed_in_gets_them(site: Served) -> None:
    token = site.client.headers["authorization"].partition(" ")[2]
    await site.stranger.get("/", params={"token": token})

    answer = await site.stranger.get("/metrics")

    assert answer.status_code == 200
    assert b"queuectl_jobs{" in answer.content


async def test_nobody_else_does(site: Served) -> None:
    answer = await site.stranger.get("/metrics")
    wrong = await site.stranger.get("/metrics", headers={"authorization": "Bearer wrong"})

    assert (answer.status_code, wrong.status_code) == (401, 401)
    assert "queuectl_jobs" not in answer.text + wrong.text


async def test_they_can_only_be_read(site: Served) -> None:
    head = await site.client.head("/metrics")
    post = await site.client.post("/metrics")

    assert (head.status_code, head.content) == (200, b"")
    assert post.status_code == 405


async def test_they_are_there_where_the_dashboard_is_mounted(engine: QueueEngine) -> None:
    dashboard = create_dashboard(engine, hosts=["jobs.example"])
    host = Starlette(routes=[Mount("/queue", dashboard)])
    transport = httpx2.ASGITransport(app=host)

    async with httpx2.AsyncClient(transport=transport, base_url="http://jobs.example") as client:
        page = await client.get("/queue/database")
        answer = await client.get("/queue/metrics")

    assert 'href="/queue/metrics"' in page.text
    assert answer.status_code == 200


async def test_without_the_extra_they_say_how_to_get_it(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were not installed: an import of None is refused as a missing module is.
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    transport = httpx2.ASGITransport(app=create_dashboard(engine, hosts=["jobs.example"]))

    async with httpx2.AsyncClient(transport=transport, base_url="http://jobs.example") as client:
        page = await client.get("/database")
        answer = await client.get("/metrics")

    assert 'href="/metrics"' not in page.text
    assert answer.status_code == 501
    assert answer.json()["error"]["hint"] == "install them with: pip install 'queuectl[metrics]'"
