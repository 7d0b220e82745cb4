"""The application: its addresses, and what stands before them."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from queuectl import QueueCtlError, QueueEngine, default_database
from queuectl.dashboard import actions, json_api, live, metrics, problems
from queuectl.dashboard.access import AccessControl, make_rules
from queuectl.dashboard.feeds import Feeds
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.panes import confirm
from queuectl.dashboard.panes.registry import PANES
from queuectl.dashboard.panes.site import Site
from queuectl.dashboard.state import DashboardState, state_of
from queuectl.dashboard.static import static_file
from queuectl.dashboard.templates import render
from queuectl.metrics import is_installed as has_metrics

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


def create_dashboard(
    engine: QueueEngine,
    *,
    token: str | None = None,
    hosts: Sequence[str] = LOCAL_NAMES,
    read_only: bool = False,
    allow_enqueue: bool = False,
) -> Starlette:
    """
    Return the dashboard of an engine, to be served or mounted in another application.

    The engine has to be open while requests come; the dashboard neither opens nor closes
    it. Whoever may use the dashboard may cancel, delete and run again what is in the
    queue, and see commands and outputs.

    Args:
        engine: Whose jobs are shown.
        token: What a request has to bring: once in a link as ``/?token=…``, from then on
            in a cookie, or as a bearer token. None where the application around it
            decides who may come.
        hosts: The names by which it may be reached, as browsers send them: with a port,
            or without one for every port.
        read_only: Show everything, change nothing.
        allow_enqueue: Let jobs be added, which is to run any command.

    Raises:
        ValueError: The token is empty or none for a header, or a host is none.
    """
    rules = make_rules(token=token, hosts=hosts, read_only=read_only)
    may_enqueue = allow_enqueue and not read_only
    routes = [
        *_pages(may_enqueue=may_enqueue),
        *live.routes(),
        *actions.routes(may_enqueue=may_enqueue),
        *json_api.routes(may_enqueue=may_enqueue),
        *metrics.routes(),
        Route(PATHS["healthz"], _healthz, name="healthz"),
        Route(PATHS["static"], static_file, name="static"),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(AccessControl, rules=rules, refuse=problems.answer_problem),
        ],
        exception_handlers={
            QueueCtlError: problems.answer_engine_error,
            HTTPException: problems.answer_http_error,
            Exception: problems.answer_bug,
        },
    )
    app.state.site = Site(
        database=str(engine.database),
        program=_program(engine),
        may_change=not read_only,
        may_enqueue=may_enqueue,
        has_metrics=has_metrics(),
    )
    app.state.dashboard = DashboardState(
        engine=engine, feeds=Feeds(engine), stopping=asyncio.Event()
    )
    return app


def _pages(*, may_enqueue: bool) -> list[BaseRoute]:
    names = [name for name in PANES if may_enqueue or name != "enqueue"]
    return [
        *[Route(PATHS[name], _page(name), name=name) for name in names],
        Route(PATHS["confirm"], _confirm, name="confirm"),
    ]


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers the address of a pane."""
    pane = PANES[name]

    async def show(request: Request) -> Response:
        engine = state_of(request).engine
        params = {**request.query_params, **_job_of(request)}
        return render(request, name, await pane.load(engine, params, engine.now()))

    return show


def _job_of(request: Request) -> dict[str, str]:
    job_id = request.path_params.get("job_id")
    return {} if job_id is None else {"job": job_id}


async def _confirm(request: Request) -> Response:
    """Ask before something is destroyed; the form on this page does it."""
    action = request.path_params["action"]
    view = await confirm.load(state_of(request).engine, action, request.query_params)
    return render(request, "confirm", view)


def _program(engine: QueueEngine) -> str:
    """Return what is typed before a command on the engine's database."""
    database = engine.database
    is_usual = database == Path(default_database()).absolute()
    return "queuectl" if is_usual else shlex.join(["queuectl", "--db", str(database)])


async def _healthz(_: Request) -> Response:
    """Say that the server answers, and nothing else: anybody may ask."""
    return JSONResponse({"status": "ok"})
