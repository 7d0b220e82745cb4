"""What the handlers of a dashboard share."""

import asyncio

import msgspec
from starlette.requests import Request

from queuectl import QueueEngine
from queuectl.dashboard.feeds import Feeds


class DashboardState(msgspec.Struct, frozen=True):
    """
    What an application holds as ``app.state.dashboard``.

    Attributes:
        engine: Whose jobs are shown; open.
        feeds: What its open pages are shown.
        stopping: Set when the server is about to stop, which ends every stream.
    """

    engine: QueueEngine
    feeds: Feeds
    stopping: asyncio.Event


def state_of(request: Request) -> DashboardState:
    """Return what the application of a request holds."""
    state: DashboardState = request.app.state.dashboard
    return state
