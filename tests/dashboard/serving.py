"""A dashboard as its users meet it: served by uvicorn on a port that the system chose."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2

# As of a program that has imported what it needs before its loop runs: this reads files.
import queuectl.metrics.exposition  # noqa: F401
from queuectl import QueueEngine
from queuectl.dashboard import Access, open_server
from queuectl.dashboard.server import DashboardServer
from tests.waiting import wait_until

TOKEN = "correct horse battery staple"  # noqa: S105 (of no other dashboard)
HTML = "text/html,application/xhtml+xml"


class Served(NamedTuple):
    """
    A dashboard that is being served.

    Attributes:
        server: What serves it.
        engine: Whose jobs it shows.
        client: Asks it as a program with the token.
        stranger: Asks it with nothing at all.
        stopped: Set when it has stopped.
    """

    server: DashboardServer
    engine: QueueEngine
    client: httpx2.AsyncClient
    stranger: httpx2.AsyncClient
    stopped: anyio.Event

    @property
    def host(self) -> str:
        """The host as a browser names it."""
        return self.stranger.base_url.netloc.decode()

    def browser(self, **headers: str) -> dict[str, str]:
        """Return what a browser says when a form of our own pages is sent."""
        return {"accept": HTML, "origin": f"http://{self.host}", **headers}


def token_file(folder: Path, text: str = TOKEN) -> Path:
    """Write a token as its owner would."""
    path = folder / "token"
    path.touch(0o600)
    path.write_text(f"{text}\n")
    return path


@asynccontextmanager
async def served(engine: QueueEngine, folder: Path, **access: Any) -> AsyncIterator[Served]:
    """Serve the dashboard of an engine while in the context."""
    given: dict[str, Any] = {"port": 0, "token_file": token_file(folder), **access}
    server = await open_server(engine, Access(**given))
    stopped = anyio.Event()

    async def serve() -> None:
        await server.serve_until_stopped()
        stopped.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await wait_until(lambda: server.started)
        bearer = {"authorization": f"Bearer {TOKEN}"}
        url = server.link.partition("?")[0]

        async with (
            httpx2.AsyncClient(base_url=url, headers=bearer, timeout=10) as client,
            httpx2.AsyncClient(base_url=url, timeout=10) as stranger,
        ):
            yield Served(server, engine, client, stranger, stopped)

        server.stop()
