"""Where a dashboard listens, and where it refuses to."""

import asyncio
import socket
from contextlib import AsyncExitStack, closing
from pathlib import Path

import anyio
import pytest

from queuectl import QueueEngine
from queuectl.dashboard import Access, ServeError, connections, open_server
from queuectl.dashboard.server import _bind
from tests.dashboard.serving import TOKEN, Served, served, token_file
from tests.waiting import PATIENCE, wait_until


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "224.0.0.1"])  # noqa: S104 (refused)
async def test_what_others_can_reach_needs_a_token_of_its_owner(
    engine: QueueEngine, host: str
) -> None:
    with pytest.raises(ServeError, match="other machines") as caught:
        await open_server(engine, Access(host=host, port=0))

    assert "--token-file" in str(caught.value.hint)


async def test_with_a_token_file_it_listens_everywhere(engine: QueueEngine, tmp_path: Path) -> None:
    async with served(engine, tmp_path, host="0.0.0.0", names=("jobs.example",)) as site:  # noqa: S104 (its purpose)
        port = site.server.link.rpartition(":")[2].strip("/")
        assert site.server.link == f"http://jobs.example:{port}/"


async def test_the_link_signs_in(engine: QueueEngine, tmp_path: Path) -> None:
    async with served(engine, tmp_path, token_file=None) as site:
        answer = await site.stranger.get(site.server.link)
        page = await site.stranger.get("/api/openapi.json")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert page.status_code == 200


async def test_the_link_of_a_read_only_dashboard_opens_no_other(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path, token_file=None) as site:
        reading = await open_server(engine, Access(port=0, read_only=True))
        reading.close()
        answer = await site.stranger.get(f"/?{reading.link.partition('?')[2]}")

    assert answer.status_code == 401


async def test_a_token_from_a_file_is_not_in_the_link(engine: QueueEngine, tmp_path: Path) -> None:
    server = await open_server(engine, Access(port=0, token_file=token_file(tmp_path)))
    server.close()

    assert "token" not in server.link
    assert TOKEN not in server.link


async def test_a_port_that_is_taken_is_named(engine: QueueEngine) -> None:
    first = await open_server(engine, Access(port=0))
    port = int(first.link.partition("/?")[0].rpartition(":")[2])

    try:
        with pytest.raises(ServeError, match=f"port {port} is taken") as caught:
            await open_server(engine, Access(port=port))
    finally:
        first.close()

    assert "--port" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["", "no-such-host.invalid", "a..b", "\x00", "256.256.256.256"])
async def test_a_host_that_is_none_is_named(engine: QueueEngine, host: str) -> None:
    with pytest.raises(ServeError, match="no address"):
        await open_server(engine, Access(host=host, port=0))


async def test_an_address_of_another_machine_is_named(engine: QueueEngine, tmp_path: Path) -> None:
    access = Access(host="192.0.2.1", port=0, token_file=token_file(tmp_path))

    with pytest.raises(ServeError, match="this machine has no address"):
        await open_server(engine, access)


async def test_a_name_with_two_addresses_has_one_port_on_both() -> None:
    sockets = _bind(["127.0.0.1", "::1"], 0)
    ports = {bound.getsockname()[1] for bound in sockets}

    for bound in sockets:
        bound.close()

    assert len(ports) == 1
    assert sockets[0].family == socket.AF_INET


async def connect(site: Served) -> anyio.abc.SocketStream:
    host, _, port = site.host.rpartition(":")
    return await anyio.connect_tcp(host, int(port))


async def received(stream: anyio.abc.SocketStream) -> bytes:
    """Return what the server sends until it hangs up."""
    said = b""

    with anyio.fail_after(PATIENCE):
        async for piece in stream:
            said += piece

    return said


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n"])
async def test_who_does_not_say_what_he_wants_is_hung_up_on(site: Served, begun: bytes) -> None:
    site.server.config.timeout_keep_alive = 0

    async with await connect(site) as stream:
        await stream.send(begun)
        assert await received(stream) == b""


async def test_a_request_that_goes_on_after_its_answer_is_hung_up_on(site: Served) -> None:
    # Without the token it is answered before all of it is there.
    request = b"POST /config HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"
    site.server.config.timeout_keep_alive = 1

    async with await connect(site) as stream:
        await stream.send(request)
        said = await stream.receive()
        await stream.send(b"a")
        await stream.send(b"b")
        await received(stream)

    assert said.startswith(b"HTTP/1.1 4")


async def test_those_who_say_nothing_do_not_keep_others_out_for_long(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path) as site, AsyncExitStack() as streams:
        site.server.config.limit_concurrency = 5
        site.server.config.timeout_keep_alive = 1
        silent = [await streams.enter_async_context(await connect(site)) for _ in range(5)]

        for stream in silent:
            await stream.send(b"GET / HT")

        refused = await site.stranger.get("/healthz")

        for stream in silent:
            await received(stream)

        taken = await site.stranger.get("/healthz")

    assert (refused.status_code, taken.status_code) == (503, 200)


async def test_the_system_keeps_so_little_that_a_slow_reader_is_seen_to_read(site: Served) -> None:
    async with await connect(site):
        await wait_until(lambda: bool(site.server.server_state.connections))
        [connection] = site.server.server_state.connections
        kept = connection.transport.get_extra_info("socket")

        # Linux doubles what is asked for.
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 128 * 1024


async def test_who_does_not_take_his_answers_is_hung_up_on(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PATIENCE", 0.05)
    host, _, port = site.host.rpartition(":")
    # Nobody needs the token for this one; so many of it are more than the system keeps.
    request = b"GET /static/app.css HTTP/1.1\r\nhost: localhost\r\n\r\n"
    loop = asyncio.get_running_loop()

    with closing(socket.socket()) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)
        await loop.sock_connect(silent, (host, int(port)))
        await loop.sock_sendall(silent, 400 * request)
        await wait_until(lambda: bool(site.server.server_state.connections))
        await wait_until(lambda: not site.server.server_state.connections)

    await wait_until(lambda: not site.server.server_state.tasks)
