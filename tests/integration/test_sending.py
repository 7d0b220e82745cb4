"""What receivers, name servers and proxies do while a message is sent."""

import asyncio
import errno
import os
import shutil
import socket
import ssl
import subprocess  # noqa: TID251 (makes a certificate)
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import anyio
import pytest

from queuectl.engine.domain.delivering import Answer
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.runtime.webhooks import sender as sending
from queuectl.engine.runtime.webhooks.sender import Sender
from queuectl.engine.store.outbox import Target
from tests.receiver import Behaviour, Receiver, answers, closes, never_ends, receiving, says

SECRET: Final = "whsec_" + "A" * 32
CONTINUES: Final = b"HTTP/1.1 103\r\n\r\n"

# What is looked up, and what with: a name server of a test.
Names = dict[str, Callable[[], list[str]]]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know of no proxies but those of a test."""
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = await asyncio.to_thread(Sender, SystemClock())
    yield sender
    await sender.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Say what names are looked up as; others are unknown."""
    names: Names = {}

    def look_up(host: bytes, port: object, **_: object) -> list[tuple[object, ...]]:
        if (found := names.get(host.decode())) is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        return [(0, 0, 0, "", (address, port)) for address in found()]

    monkeypatch.setattr("queuectl.engine.runtime.webhooks.network.socket.getaddrinfo", look_up)
    return names


@pytest.fixture
def hangs() -> Iterator[Callable[[], list[str]]]:
    """Look a name up until the test is over, and then know of no addresses."""
    is_over = threading.Event()

    def hang() -> list[str]:
        is_over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    yield hang
    is_over.set()


async def send(sender: Sender, url: str) -> Answer:
    target = Target(number=1, url=url, secret=SECRET, due_at=None)
    return await sender.send(target, "msg_1", b"{}")


@pytest.mark.parametrize(
    "behaviour",
    [
        never_ends(b"", CONTINUES * 99),
        never_ends(b"HTTP/1.1 200 X\r\n", b"a: b\r\n" * 99),
        never_ends(b"HTTP/1.1 200 X\r\na: ", b"b" * 999),
    ],
    ids=["interim answers", "headers", "one header"],
)
async def test_an_answer_that_does_not_begin_is_not_waited_for(
    sender: Sender, receiver: Receiver, behaviour: Behaviour
) -> None:
    answer = await send(sender, receiver.does("/", behaviour))

    assert answer == Answer(problem="too long an answer: more than 16 KiB")


async def test_interim_answers_are_passed_over(sender: Sender, receiver: Receiver) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CONTINUES * 9)
        await answers(204)(writer)

    assert await send(sender, receiver.does("/", answer)) == Answer(status=204)


@pytest.mark.parametrize(
    "more", [b"400\r\n" + b"x" * 1024 + b"\r\n", b"1\r\nx\r\n" * 99], ids=["large", "small"]
)
async def test_of_a_body_without_end_a_little_is_read_and_its_status_counts(
    sender: Sender, receiver: Receiver, more: bytes
) -> None:
    endless = never_ends(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n", more)

    assert await send(sender, receiver.does("/", endless)) == Answer(status=200)


async def begins(writer: asyncio.StreamWriter) -> None:
    """Promise a body, and say nothing until the other side goes."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n")
    await writer.wait_closed()


@pytest.mark.parametrize(
    "behaviour",
    [
        begins,
        says(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nshort"),
        says(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"),
    ],
    ids=["hangs", "cut", "nonsense"],
)
async def test_an_answer_counts_whatever_becomes_of_its_body(
    sender: Sender, receiver: Receiver, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BODY_SECONDS", 0.05)
    url = receiver.does("/", behaviour, answers(204))

    assert await send(sender, url) == Answer(status=200)
    assert await send(sender, url) == Answer(status=204)


@pytest.mark.parametrize("behind", [b"\r\n", b"HTTP/1.1 200 X\r\n\r\n", b"HTTP/1.1 503 X\r\n\r\n"])
async def test_what_is_written_behind_an_answer_is_not_the_answer_to_the_next_message(
    sender: Sender, receiver: Receiver, behind: bytes
) -> None:
    # It leaves the connection open: else nobody could use it again.
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok" + behind)

    url = receiver.does("/", answer, answers(410), answers(204))

    statuses = [(await send(sender, url)).status for _ in range(3)]

    assert statuses == [200, 410, 204]
    assert len(receiver.received) == 3


async def test_a_connection_that_is_closed_without_an_answer_is_a_failure(
    sender: Sender, receiver: Receiver
) -> None:
    url = receiver.does("/", answers(200), closes, answers(204))

    found = [await send(sender, url) for _ in range(3)]

    problem = Answer(problem="closed the connection without an answer")
    assert found == [Answer(status=200), problem, Answer(status=204)]
    assert len(receiver.received) == 3


async def test_a_name_is_looked_up_and_its_addresses_are_tried_in_turn(
    sender: Sender, receiver: Receiver, names: Names
) -> None:
    names["hooks.example"] = lambda: ["127.0.0.2", "127.0.0.1"]

    answer = await send(sender, f"http://hooks.example:{receiver.port}/a;b?c")

    assert answer == Answer(status=200)
    [received] = receiver.received
    assert received.path == "/a;b?c"
    assert received.headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_name_that_nobody_knows_is_said_to_be_unknown(sender: Sender, names: Names) -> None:
    assert names == {}
    answer = await send(sender, "https://nowhere.example/")

    assert answer.problem == f"ConnectError: [Errno {socket.EAI_NONAME}] Name or service not known"


async def test_a_name_server_that_hangs_holds_up_no_other_receiver_and_no_exit(
    sender: Sender,
    receiver: Receiver,
    names: Names,
    hangs: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "CONNECT_SECONDS", 0.05)
    threads: list[threading.Thread] = []

    def hang() -> list[str]:
        threads.append(threading.current_thread())
        return hangs()

    hosts = [f"slow{number}.example" for number in range(40)]
    names.update(dict.fromkeys(hosts, hang))
    names["hooks.example"] = lambda: ["127.0.0.1"]

    for _ in range(2):
        slow = await asyncio.gather(*(send(sender, f"https://{host}/") for host in hosts))
        assert {answer.problem for answer in slow} == {"no connection within 0.05 s"}

    monkeypatch.setattr(sending, "CONNECT_SECONDS", 5)
    assert await send(sender, f"http://hooks.example:{receiver.port}/") == Answer(status=200)
    # One thread for each, however often they are asked for; none that the end waits for.
    assert len(threads) == len(hosts)
    assert all(thread.daemon for thread in threads)


async def test_this_machine_is_not_asked_for_by_its_names(
    sender: Sender, receiver: Receiver, names: Names
) -> None:
    names["app.localhost"] = lambda: ["192.0.2.1"]

    for host in ("localhost", "app.localhost", "LOCALHOST"):
        assert await send(sender, f"http://{host}:{receiver.port}/") == Answer(status=200)


async def test_what_is_sent_to_this_machine_goes_through_no_proxy(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.setenv("ALL_PROXY", proxy.url())

        for host in ("127.0.0.1", "localhost", "app.localhost"):
            assert await send(sender, f"http://{host}:{receiver.port}/") == Answer(status=200)

        assert proxy.received == []


async def test_what_is_sent_to_others_goes_through_the_proxy_of_the_environment(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    async with receiving() as proxy:
        # Without its scheme, as people write it.
        monkeypatch.setenv("http_proxy", f"user:p%40ss@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("https_proxy", proxy.url())
        monkeypatch.setenv("no_proxy", "direct.example")
        proxy.does("hooks.example:443", answers(403))

        assert await send(sender, "http://hooks.example/a?b") == Answer(status=200)
        refused = await send(sender, "https://hooks.example/")
        direct = await send(sender, "https://sub.direct.example/")

    forwarded, tunnel = proxy.received
    assert names == {}
    assert forwarded.path == "http://hooks.example/a?b"
    assert forwarded.headers["host"] == "hooks.example"
    assert forwarded.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert tunnel.path == "hooks.example:443"
    assert "webhook-id" not in tunnel.headers
    assert refused.problem == "ProxyError: 403 X"
    assert str(direct.problem).startswith("ConnectError")


@pytest.mark.parametrize(
    "address",
    [
        "socks5://127.0.0.1:1",
        "http://:hush@",
        "http://p:port",
        "http://p:0",
        "http://\u043f\u0440\u043e\u043a\u0441\u0438.example:3128",
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_reason(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)

    answer = await send(sender, "https://hooks.example/")

    assert answer.problem == (
        "ProxyError: the proxy of the environment is not an http or https URL"
    )


async def test_certificates_that_cannot_be_read_are_a_reason_and_keep_no_http_from_being_sent(
    sender: Sender,
    receiver: Receiver,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    junk, pipe = tmp_path / "junk", tmp_path / "pipe"
    junk.write_text("nonsense")
    os.mkfifo(pipe)
    said = "the certificates to trust cannot be read (SSL_CERT_FILE, SSL_CERT_DIR): "
    assert names == {}

    for path in (tmp_path / "missing", junk, pipe):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        https = await send(sender, "https://hooks.example/")
        assert str(https.problem).startswith(said)
        assert await send(sender, receiver.url()) == Answer(status=200)

    monkeypatch.delenv("SSL_CERT_FILE")
    assert str((await send(sender, "https://hooks.example/")).problem).startswith("ConnectError")


async def test_that_no_more_files_can_be_opened_is_no_answer_of_the_receivers(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(anyio, "connect_tcp", connect)

    with pytest.raises(OSError, match="Too many open files"):
        await send(sender, receiver.url())


async def test_an_error_that_nobody_has_foreseen_is_a_reason_and_is_logged_once(
    sender: Sender,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: object) -> Answer:
        raise LookupError("odd")

    monkeypatch.setattr(Sender, "_post", fail)

    for _ in range(2):
        assert await send(sender, receiver.url()) == Answer(problem="LookupError: odd")

    [record] = caplog.records
    assert (record.levelname, bool(record.exc_info)) == ("ERROR", True)


def make_certificate(folder: Path, name: str) -> ssl.SSLContext:
    """Make a certificate of a name, beside ``key``, and return who proves to be that."""
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
async def test_https_is_spoken_with_who_proves_to_have_the_name_of_the_url(
    names: Names, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = await asyncio.to_thread(make_certificate, tmp_path, "hooks.example")
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    names.update(dict.fromkeys(["hooks.example", "other.example"], lambda: ["127.0.0.1"]))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    sender = await asyncio.to_thread(Sender, SystemClock())
    receiver = Receiver()

    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        good = [await send(sender, f"https://hooks.example:{port}/") for _ in range(2)]
        bad = await send(sender, f"https://other.example:{port}/")
        await sender.close()

    assert good == [Answer(status=200)] * 2
    assert asked == ["hooks.example", "hooks.example", "other.example"]
    assert len(receiver.received) == 2
    assert "certificate is not valid for 'other.example'" in str(bad.problem)
