"""The server of the metrics as Prometheus, browsers and strangers meet it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from queuectl import QueueEngine
from queuectl.metrics import (
    CONTENT_TYPE,
    MetricsServeError,
    Place,
    check_place,
    serve,
    server as server_module,
)
from queuectl.metrics.server import is_loopback, parse_request
from tests.metrics.reading import parse
from tests.waiting import wait_until


@pytest.fixture
async def address(engine: QueueEngine) -> AsyncIterator[str]:
    async with serve(engine, Place(port=0)) as address:
        yield address


async def talk(address: str, sent: bytes) -> bytes:
    """Send bytes, and return what is answered until the server hangs up."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)

    try:
        writer.write(sent)
        return await reader.read()
    finally:
        writer.close()


async def test_it_gives_the_metrics_to_whoever_asks(engine: QueueEngine, address: str) -> None:
    await engine.enqueue("true")

    async with httpx2.AsyncClient() as client:
        answer = await client.get(address)

    assert answer.status_code == 200
    assert (
        answer.headers["content-type"] == CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert parse(answer.content)["queuectl_jobs_enqueued_total"] == 1


async def test_a_head_has_the_length_and_no_body(address: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.head(address)

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 1000
    assert answer.content == b""


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, "the metrics are at /metrics"),
        ("GET", "/metrics/../etc/passwd", 404, "the metrics are at"),
        ("POST", "/metrics", 405, "can only be read"),
    ],
)
async def test_everything_else_is_refused_in_a_line(
    method: str, path: str, status: int, words: str, address: str
) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.request(method, address.removesuffix("/metrics") + path)

    assert answer.status_code == status
    assert words in answer.text
    assert answer.text.count("\n") == 1
    assert answer.headers.get("allow") == ("GET, HEAD" if status == 405 else None)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.0.2.1", "<x>", ""])
async def test_a_name_that_was_pointed_at_us_is_refused(host: str, address: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(address, headers={"host": host})

    assert answer.status_code == 421
    assert "queuectl_jobs" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:9464"])
async def test_the_names_of_loopback_are_ours_with_any_port(host: str, address: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(address, headers={"host": host})

    assert answer.status_code == 200


async def test_where_a_host_was_given_every_name_leads_to_it(engine: QueueEngine) -> None:
    place = Place(host="0.0.0.0", port=0)  # noqa: S104 (its purpose)

    async with serve(engine, place) as address, httpx2.AsyncClient() as client:
        local = address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 (nothing is bound here)
        answer = await client.get(local, headers={"host": "jobs.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nhost: evil\r\n\r\n", 400),
        (b"GET http://[/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 421),
        (b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000, 431),
    ],
)
async def test_odd_requests_are_answered_and_cost_nothing(
    sent: bytes, status: int, address: str
) -> None:
    assert (await talk(address, sent)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_who_hangs_up_halfway_disturbs_nobody(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = urlsplit(address)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(b"GET /metr")
    writer.transport.abort()

    async with httpx2.AsyncClient() as client:
        assert (await client.get(address)).status_code == 200

    assert caplog.records == []


async def test_who_is_silent_is_left_after_a_while(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_PATIENCE", 0.01)

    assert await talk(address, b"GET /metrics") == b""


async def test_who_does_not_take_the_answer_is_hung_up_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 16 * 2**20

    async def large(_: QueueEngine) -> bytes:
        return size * b"x"

    monkeypatch.setattr(server_module, "_PATIENCE", 0.05)
    monkeypatch.setattr(server_module, "render", large)
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")

    # Its task ends with the connection, which else waits for ever for its reader.
    await wait_until(lambda: any("_converse" in repr(task) for task in asyncio.all_tasks()))
    await wait_until(lambda: not any("_converse" in repr(task) for task in asyncio.all_tasks()))
    taken = 0

    with suppress(ConnectionError):
        while piece := await reader.read(2**20):
            taken += len(piece)

    writer.close()
    assert taken < size


async def test_many_at_once_are_served_and_too_many_are_turned_away(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers = await asyncio.gather(*(talk(address, request) for _ in range(16)))
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)

    monkeypatch.setattr(server_module, "_MOST_CONNECTIONS", 0)
    assert await talk(address, b"") == b""


async def test_who_asks_while_as_many_as_may_are_answered_is_told_so_and_the_silent_do_not_count(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = asyncio.Event()
    is_asked = asyncio.Event()

    async def slow(_: QueueEngine) -> bytes:
        is_asked.set()
        await may_answer.wait()
        return b"here"

    monkeypatch.setattr(server_module, "render", slow)
    monkeypatch.setattr(server_module, "_MOST_ANSWERS", 1)
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    place = urlsplit(address)
    _, silent = await asyncio.open_connection(place.hostname, place.port)
    first = asyncio.create_task(talk(address, request))
    await is_asked.wait()
    head, _, body = (await talk(address, request)).partition(b"\r\n\r\n")
    may_answer.set()

    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Connection: close" in head
    assert body == b"too many ask at once\n"
    assert (await first).endswith(b"\r\n\r\nhere")
    assert b" 200 OK" in await talk(address, request)
    silent.close()


async def test_it_ends_at_once_with_connections_open(engine: QueueEngine) -> None:
    async with serve(engine, Place(port=0)) as address:
        place = urlsplit(address)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(b"GET /metrics")
        # Who comes later is answered, so who came before has been let in.
        assert await talk(address, b"\r\n\r\n")

    assert await reader.read() == b""
    writer.close()

    with pytest.raises(ConnectionError):
        await talk(address, b"")


async def test_a_queue_that_cannot_be_read_is_said_so(
    engine: QueueEngine, address: str, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await engine.enqueue("true")
    db_path.write_bytes(b"no database at all" * 1000)
    db_path.with_name("queue.db-wal").write_bytes(b"")

    async with httpx2.AsyncClient() as client:
        answer = await client.get(address)

    assert answer.status_code == 503
    assert "queuectl_jobs" not in answer.text
    assert "the metrics could not be read" in caplog.text


async def test_a_port_that_is_taken_is_said_in_a_line(engine: QueueEngine, address: str) -> None:
    place = Place(port=urlsplit(address).port or 0)

    with pytest.raises(MetricsServeError, match=f"port {place.port} is taken") as caught:
        async with serve(engine, place):
            pass

    assert "--metrics-port" in str(caught.value.hint)

    with pytest.raises(MetricsServeError, match="is taken"):
        await check_place(place)


async def test_a_port_that_was_looked_at_is_free_afterwards(
    engine: QueueEngine, address: str
) -> None:
    await check_place(Place(port=0))
    port = urlsplit(address).port or 0

    async with serve(engine, Place(port=0)) as other:
        assert urlsplit(other).port != port


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("", "empty"),
        ("no-such-host.invalid", "no address"),
        ("a..b", "no address"),
        ("\x00", "no address"),
        ("192.0.2.1", "this machine has no address"),
    ],
)
async def test_a_host_that_is_none_is_named(engine: QueueEngine, host: str, words: str) -> None:
    with pytest.raises(MetricsServeError, match=words):
        async with serve(engine, Place(host=host, port=0)):
            pass


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("Localhost.", True),
        ("0.0.0.0", False),  # noqa: S104 (nothing is bound here)
        ("192.0.2.1", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_what_can_only_mean_this_machine_is_known(host: str, expected: object) -> None:
    assert is_loopback(host) is expected


def test_a_request_is_read_as_far_as_it_matters() -> None:
    request = parse_request(b"GET /metrics?a=b HTTP/1.1\r\nA: b\r\nHost: [::1]:80\r\n\r\n")

    assert request is not None
    assert (request.method, request.path, request.host) == ("GET", "/metrics", "::1")
