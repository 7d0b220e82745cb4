"""The queue as Prometheus reads it, behind the dashboard's token."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from queuectl.dashboard.links import PATHS
from queuectl.dashboard.problems import answer_problem
from queuectl.dashboard.state import state_of
from queuectl.metrics import is_installed, missing


def routes() -> list[BaseRoute]:
    """Return the route of the metrics, which says so where their package is not installed."""
    answer = _reading() if is_installed() else _missing
    return [Route(PATHS["metrics"], answer, name="metrics")]


def _reading() -> Callable[[Request], Awaitable[Response]]:
    """Return what answers; what it needs is imported now, and not at the first request."""
    from queuectl.metrics import CONTENT_TYPE, render

    async def show(request: Request) -> Response:
        content = await render(state_of(request).engine)
        # In the headers, for Starlette would add to the type of a text.
        return Response(content, headers={"content-type": CONTENT_TYPE})

    return show


async def _missing(request: Request) -> Response:
    error = missing()
    return answer_problem(request, 501, str(error), error.hint)
