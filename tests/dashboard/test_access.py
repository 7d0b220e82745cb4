"""Attacks on the dashboard, over a socket: what must not be answered, and what must."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import Mount, Route

from queuectl import JobState, QueueEngine
from queuectl.dashboard import create_dashboard
from queuectl.dashboard.links import PATHS
from tests.dashboard.serving import HTML, TOKEN, Served, served

OPEN = {"healthz", "static"}


async def raw(site: Served, *lines: str) -> bytes:
    """Send a request as it is written, and return the answer."""
    import anyio

    host, _, port = site.host.rpartition(":")
    stream = await anyio.connect_tcp(host, int(port))

    async with stream:
        await stream.send("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = b""

        while True:
            try:
                answer += await stream.receive()
            except anyio.EndOfStream:
                return answer


def addresses() -> list[tuple[str, str]]:
    """Return every method and path that the application has routes for."""
    app = create_dashboard(QueueEngine("no.db"), allow_enqueue=True)
    found = []

    for route in app.routes:
        assert isinstance(route, Route | Mount)

        if isinstance(route, Route) and route.name not in OPEN:
            path = route.path.format(job_id="job-1", pane="overview", action="delete")
            found += [(method, path) for method in sorted(route.methods or ())]

    return found


async def test_nothing_is_answered_without_the_token(site: Served) -> None:
    answered = []

    for method, path in addresses():
        answer = await site.stranger.request(method, path, headers=site.browser())

        if answer.status_code != 401 or str(site.engine.database) in answer.text:
            answered.append((method, path, answer.status_code))

    assert len(addresses()) > 40
    assert answered == []


def test_every_address_of_the_list_has_a_route() -> None:
    app = create_dashboard(QueueEngine("no.db"), allow_enqueue=True)
    routed = {route.path for route in app.routes if isinstance(route, Route)}

    assert set(PATHS.values()) - routed <= {PATHS["metrics"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \u00fc"},
        {"cookie": f"queuectl={TOKEN}"},
        {"cookie": "queuectl-000000000000="},
    ],
)
async def test_a_wrong_token_is_refused(site: Served, headers: dict[str, str]) -> None:
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = await site.stranger.get("/api/stats", headers=raw_headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


async def test_two_bearers_are_none(site: Served) -> None:
    one = f"Authorization: Bearer {TOKEN}"
    answer = await raw(site, "GET /api/stats HTTP/1.1", f"Host: {site.host}", one, one)

    assert answer.startswith(b"HTTP/1.1 401")


async def test_the_token_in_a_link_becomes_a_cookie_and_leaves_the_address(site: Served) -> None:
    first = await site.stranger.get("/healthz")
    link = await site.stranger.get("/jobs", params={"state": "dead", "token": TOKEN})
    cookie = link.headers["set-cookie"]

    assert first.status_code == 200
    assert link.status_code == 303
    assert link.headers["location"] == "/jobs?state=dead"
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "path=/;" in cookie.lower()
    assert TOKEN not in cookie
    assert (await site.stranger.get("/api/openapi.json")).status_code == 200


async def test_a_wrong_token_in_a_link_is_refused_and_not_repeated(site: Served) -> None:
    answer = await site.stranger.get("/", params={"token": "wrong-token-abc"})

    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "wrong-token-abc" not in answer.text


async def test_an_old_link_of_somebody_signed_in_is_cleaned_as_well(site: Served) -> None:
    await site.stranger.get("/", params={"token": TOKEN})
    answer = await site.stranger.get("/dlq", params={"token": "of last week"})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/dlq"
    assert "set-cookie" not in answer.headers


async def test_a_link_leads_to_no_other_host(site: Served) -> None:
    answer = await raw(
        site,
        f"GET //evil.example/?token={TOKEN.replace(' ', '%20')} HTTP/1.1",
        f"Host: {site.host}",
    )

    assert b"location: /evil.example/\r\n" in answer.lower()


async def test_the_cookie_of_one_dashboard_is_not_that_of_another(
    site: Served, tmp_path: Path
) -> None:
    signed_in = await site.stranger.get("/", params={"token": TOKEN})
    name = signed_in.headers["set-cookie"].partition("=")[0]
    (tmp_path / "other").mkdir()

    async with QueueEngine(tmp_path / "other" / "queue.db") as engine:
        from tests.dashboard.serving import token_file

        path = token_file(tmp_path / "other", "another token altogether")

        async with served(engine, tmp_path, token_file=path) as other:
            answer = await other.stranger.get("/", params={"token": "another token altogether"})

    assert answer.headers["set-cookie"].partition("=")[0] != name


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:{port}",
        "localhost.:{port}",
        "evil.example#127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1, evil.example",
        "127.1:{port}",
        "2130706433:{port}",
        "0.0.0.0:{port}",
        "127.0.0.1:",
        "127.0.0.1:port",
        "[::1",
        "",
    ],
)
async def test_a_host_that_is_not_ours_is_refused_whatever_it_asks(site: Served, host: str) -> None:
    name = host.format(port=site.host.rpartition(":")[2])

    for path in ("/api/stats", "/healthzz", "/static/app.css", "/"):
        answer = await raw(
            site, f"GET {path} HTTP/1.1", f"Host: {name}", f"Authorization: Bearer {TOKEN}"
        )
        assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8080"])
async def test_our_names_are_answered_through_a_tunnel_from_another_port(
    site: Served, host: str
) -> None:
    answer = await raw(site, "GET /static/app.css HTTP/1.1", f"Host: {host}")

    assert answer.startswith(b"HTTP/1.1 200")


async def test_two_hosts_are_none(site: Served) -> None:
    host = f"Host: {site.host}"
    answer = await raw(site, "GET /static/app.css HTTP/1.1", host, host)

    assert answer.startswith(b"HTTP/1.1 4")


async def test_a_name_that_was_allowed_is_answered(engine: QueueEngine, tmp_path: Path) -> None:
    async with served(engine, tmp_path, names=("jobs.example:8443",)) as site:
        right = await raw(site, "GET /static/app.css HTTP/1.1", "Host: Jobs.Example:8443")
        wrong = await raw(site, "GET /static/app.css HTTP/1.1", "Host: jobs.example:8444")

    assert right.startswith(b"HTTP/1.1 200")
    assert wrong.startswith(b"HTTP/1.1 421")


async def signed_in(site: Served) -> httpx2.AsyncClient:
    """Return a client with the cookie, as a browser has it."""
    await site.stranger.get("/", params={"token": TOKEN})
    return site.stranger


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://localhost:1"},
        {"origin": "file://"},
        {"origin": "http://["},
        {"origin": "http://{host}.evil.example"},
        {"origin": "http://evil.example?{host}"},
        {"origin": "http://user@{host}"},
        {"origin": "javascript://{host}"},
        {"sec-fetch-site": "cross-site", "origin": "http://{host}"},
        {"sec-fetch-site": "same-site", "origin": "http://{host}"},
        {"sec-fetch-site": "none", "origin": "http://{host}"},
        {"sec-fetch-site": "same-site"},
        {},
    ],
)
async def test_a_form_of_another_site_changes_nothing(
    site: Served, headers: dict[str, str]
) -> None:
    job = await site.engine.enqueue("echo hi", id="job-1")
    client = await signed_in(site)
    sent = {name: value.format(host=site.host) for name, value in headers.items()}

    form = await client.post("/actions/cancel", data={"job": job.id}, headers=sent)
    api = await client.post(f"/api/jobs/{job.id}/cancel", headers=sent)

    assert form.status_code == api.status_code == 403
    assert (await site.engine.get(job.id)).state is JobState.PENDING


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "same-origin"}, {"origin": "http://{host}"}]
)
async def test_a_form_of_ours_is_taken(site: Served, headers: dict[str, str]) -> None:
    await site.engine.enqueue("echo hi", id="job-1")
    client = await signed_in(site)
    sent = {name: value.format(host=site.host) for name, value in headers.items()}

    answer = await client.post("/actions/cancel", data={"job": "job-1"}, headers=sent)

    assert answer.status_code == 303
    assert (await site.engine.get("job-1")).state is JobState.CANCELLED


async def test_a_page_that_stole_the_token_is_still_another_site(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    answer = await site.client.post("/api/jobs/job-1/cancel", headers={"origin": "http://evil"})

    assert answer.status_code == 403


async def test_a_program_with_the_token_needs_no_origin(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    answer = await site.client.post("/api/jobs/job-1/cancel")

    assert answer.status_code == 200
    assert answer.json()["state"] == "cancelled"


async def test_nothing_changes_by_looking(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    for path in (
        "/actions/cancel?job=job-1",
        "/api/jobs/job-1/cancel",
        "/actions/delete?job=job-1",
    ):
        assert (await site.client.get(path)).status_code == 405

    assert (await site.engine.get("job-1")).state is JobState.PENDING


@pytest.mark.parametrize(
    "path", ["/api/stats", "/healthz", "/nothing", "/static/none", "/api/none"]
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_every_answer_forbids_frames_inline_code_and_guessing(
    site: Served, path: str, *, is_known: bool
) -> None:
    answer = await (site.client if is_known else site.stranger).get(path)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )

    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] in {"no-store", "no-cache"}
    assert "server" not in answer.headers


@pytest.mark.parametrize("accept", [HTML, "*/*"])
async def test_a_failure_of_ours_is_closed_too_and_says_nothing_of_its_cause(
    site: Served, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(site.engine, "list_workers", fail)
    answer = await site.client.get("/workers", headers={"accept": accept})

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"


async def test_health_is_open_and_says_nothing(site: Served) -> None:
    answer = await site.stranger.get("/healthz")
    # Those who probe know an address, and no name of ours.
    probe = await site.stranger.get("/healthz", headers={"host": "10.0.0.7:8080"})
    change = await site.stranger.post("/healthz", headers={"host": "10.0.0.7:8080"})

    assert answer.json() == probe.json() == {"status": "ok"}
    assert change.status_code == 421


async def test_a_stranger_is_told_what_to_do(site: Served) -> None:
    page = await site.stranger.get("/", headers={"accept": HTML})
    program = await site.stranger.get("/api/stats")

    assert page.status_code == program.status_code == 401
    assert page.headers["content-type"].startswith("text/html")
    assert "queuectl dashboard" in page.text
    assert program.json()["error"]["code"] == 401
    assert "queuectl dashboard" in program.json()["error"]["hint"]


@pytest.mark.parametrize(
    "path", ["/static/../access.py", "/static/%2e%2e/access.py", "/static/..%2f..%2f__init__.py"]
)
async def test_static_files_are_those_of_their_folder(site: Served, path: str) -> None:
    answer = await raw(site, f"GET {path} HTTP/1.1", f"Host: {site.host}")

    assert answer.startswith(b"HTTP/1.1 404")


async def test_a_body_without_end_is_refused(site: Served) -> None:
    answer = await site.client.post("/api/dlq/retry", content=b" " * (5 * 1024 * 1024))

    assert answer.status_code == 413
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("read_only", [True, False])
async def test_read_only_changes_nothing(
    engine: QueueEngine, tmp_path: Path, *, read_only: bool
) -> None:
    await engine.enqueue("echo hi", id="job-1")

    async with served(engine, tmp_path, read_only=read_only, allow_enqueue=True) as site:
        answers = [
            await site.client.post("/api/jobs/job-1/cancel"),
            await site.client.post("/actions/retry", data={"job": "job-1"}),
            await site.client.post("/api/jobs", json={"command": "echo hi"}),
        ]
        codes = [answer.status_code for answer in answers]

    assert codes == ([403] * 3 if read_only else [200, 303, 201])


async def test_jobs_are_not_added_unless_that_is_allowed(site: Served) -> None:
    api = await site.client.post("/api/jobs", json={"command": "echo hi"})
    form = await site.client.post("/enqueue", data={"command": "echo hi"})
    page = await site.client.get("/enqueue")

    assert api.status_code == 405
    assert form.status_code == page.status_code == 404
    assert await site.engine.list() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"token": ""},
        {"token": " "},
        # No header brings them.
        {"token": "s\u00e9cret-0123456789"},
        {"token": "secret-0123456789 "},
        {"token": "secret-\n0123456789"},
        {"hosts": ["a/b"]},
        {"hosts": ["*"]},
    ],
)
def test_arguments_that_protect_nothing_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"token|host"):
        create_dashboard(QueueEngine("no.db"), **arguments)
