"""Jobs whose time is still to come."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job_row import Rows, rows

if TYPE_CHECKING:
    from queuectl import JobPage, QueueEngine


class ScheduledView(msgspec.Struct, frozen=True, kw_only=True):
    """
    Jobs whose time is still to come, the next in front.

    Attributes:
        rows: A page of them.
        before: Where the page begins; None for the first.
    """

    rows: Rows
    before: int | None

    @property
    def query(self) -> dict[str, str | int | None]:
        """What leads here again, as the query of an address."""
        return {"before": self.before}


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> ScheduledView:
    """
    Look up what is to come.

    Raises:
        InvalidValueError: What was asked for makes no sense.
    """
    before = asked.number(params, "before")
    page = await engine.page(scheduled=True, before=before, limit=asked.PAGE)
    return scheduled_view(page, now, before=before)


def scheduled_view(page: "JobPage", now: datetime, *, before: int | None = None) -> ScheduledView:
    """Return what is to come as it is shown."""
    return ScheduledView(rows=rows(page, now, is_first=before is None), before=before)
