"""The list of jobs."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from queuectl import JobState
from queuectl.dashboard import words
from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job_row import Rows, rows
from queuectl.dashboard.panes.search import STEP, look
from queuectl.dashboard.text import readable_line

if TYPE_CHECKING:
    from queuectl import JobPage, QueueEngine


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """
    A state to choose from.

    Attributes:
        state: Its name; empty for all.
        count: How many jobs are in it; empty where a tag or a search is asked for, by
            which they are not counted.
        is_chosen: Whether the list shows these.
    """

    state: str
    count: str
    is_chosen: bool


class JobsView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The list of jobs.

    Attributes:
        rows: The page.
        choices: The states to choose from.
        state: The state that was asked for; empty for all.
        tag: The tag that was asked for; empty for all.
        search: What was searched for; empty for nothing.
        before: Where the page begins; None for the first.
        is_live: Whether the page follows what happens: a search does not.
    """

    rows: Rows
    choices: tuple[Choice, ...]
    state: str
    tag: str
    search: str
    before: int | None
    is_live: bool

    @property
    def query(self) -> dict[str, str | int | None]:
        """What leads here again, as the query of an address."""
        return {**self.filter, "before": self.before}

    @property
    def filter(self) -> dict[str, str | int | None]:
        """What was asked for, without the page."""
        asked_for = {"state": self.state, "tag": self.tag, "search": self.search}
        return {name: value or None for name, value in asked_for.items()}

    @property
    def is_filtered(self) -> bool:
        """Whether some jobs are left out."""
        return bool(self.state or self.tag or self.search)

    @property
    def shown_tag(self) -> str:
        """The tag, readable."""
        return readable_line(self.tag)


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> JobsView:
    """
    Look a page of jobs up.

    Raises:
        InvalidValueError: What was asked for makes no sense.
    """
    state = asked.state(params, "state")
    tag = asked.text(params, "tag")
    search = asked.text(params, "search")
    before = asked.number(params, "before")
    found = await look(engine, state, tag=tag, search=search, before=before, limit=asked.PAGE)
    counts = (await engine.stats()).counts
    return jobs_view(
        found.page,
        counts,
        now,
        state=state,
        tag=tag,
        search=search,
        before=before,
        looked=found.looked,
    )


def jobs_view(
    page: "JobPage",
    counts: Mapping[JobState, int],
    now: datetime,
    *,
    state: JobState | None = None,
    tag: str | None = None,
    search: str | None = None,
    before: int | None = None,
    looked: int = STEP,
) -> JobsView:
    """Return a page of jobs as it is shown, with what was asked for."""
    numbers = {"": sum(counts.values())} | {each.value: counts[each] for each in JobState}
    return JobsView(
        rows=rows(page, now, is_first=before is None, looked=looked),
        choices=tuple(
            Choice(
                state=each,
                count="" if tag or search else words.number(number),
                is_chosen=each == (state or ""),
            )
            for each, number in numbers.items()
        ),
        state=state or "",
        tag=tag or "",
        search=search or "",
        before=before,
        is_live=search is None,
    )
