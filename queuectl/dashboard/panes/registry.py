"""The panes by name: what looks each up, and which of its parts are live."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl.dashboard.panes import (
    config,
    database,
    dlq,
    enqueue,
    fleet,
    job,
    jobs,
    overview,
    scheduled,
)

if TYPE_CHECKING:
    from queuectl import QueueEngine

Load = Callable[["QueueEngine", Mapping[str, str], datetime], Awaitable[msgspec.Struct]]


class Pane(msgspec.Struct, frozen=True):
    """
    A pane of the dashboard.

    Attributes:
        load: From the engine, the query of the address and the time to what is shown.
        parts: The ids of the elements that follow what happens.
        load_parts: Looks up what these show, where that is less; else `load`.
    """

    load: Load
    parts: tuple[str, ...] = ()
    load_parts: Load | None = None

    @property
    def refresh(self) -> Load:
        """What looks up the parts that are live."""
        return self.load_parts or self.load


PANES: Final[dict[str, Pane]] = {
    "overview": Pane(overview.load, ("health", "kpis", "charts", "durations", "recent")),
    "jobs": Pane(jobs.load, ("choices", "rows")),
    "job": Pane(job.load, ("head", "facts", "attempts", "written"), job.load_parts),
    "dlq": Pane(dlq.load, ("causes", "rows")),
    "scheduled": Pane(scheduled.load, ("rows",)),
    "workers": Pane(fleet.load, ("fleet",)),
    "config": Pane(config.load),
    "database": Pane(database.load),
    "enqueue": Pane(enqueue.load),
}
