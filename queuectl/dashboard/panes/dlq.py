"""The dead letter queue."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import JobState
from queuectl.dashboard import words
from queuectl.dashboard.panes import params as asked
from queuectl.dashboard.panes.job_row import Rows, rows
from queuectl.dashboard.panes.search import STEP, look
from queuectl.dashboard.text import readable_line
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import Cause, JobPage, QueueEngine

_LONGEST: Final = 200
_MOST_CAUSES: Final = 50


class CauseRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why some jobs died.

    Attributes:
        reason: As it is, for forms.
        words: The reason, readable.
        count: How many died of it.
        jobs: The same with its noun: ``3 jobs``.
        latest: When the last one died.
        is_chosen: Whether the list shows these.
    """

    reason: str
    words: str
    count: str
    jobs: str
    latest: Moment
    is_chosen: bool


class DlqView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The dead letter queue.

    Attributes:
        total: How many dead jobs there are.
        causes: Why they died, the most frequent first.
        others: How many died of causes that are left out: ``3 jobs``; empty for none.
        rows: A page of them.
        reason: The cause whose jobs are shown, empty for those without one; None
            for all.
        before: Where the page begins; None for the first.
    """

    total: int
    causes: tuple[CauseRow, ...]
    others: str
    rows: Rows
    reason: str | None
    before: int | None

    @property
    def is_live(self) -> bool:
        """Whether the page follows what happens: a cause is searched for, which takes longer."""
        return self.reason is None

    @property
    def jobs(self) -> str:
        """How many, with the noun."""
        return words.counted(self.total, "job")

    @property
    def shown_reason(self) -> str:
        """The cause whose jobs are shown, readable."""
        return _words(self.reason or "")

    @property
    def query(self) -> dict[str, str | int | None]:
        """What leads here again, as the query of an address."""
        return {"reason": self.reason, "before": self.before}


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> DlqView:
    """
    Look the dead letter queue up.

    Raises:
        InvalidValueError: What was asked for makes no sense.
    """
    reason = params.get("reason")
    before = asked.number(params, "before")
    found = await look(engine, JobState.DEAD, reason=reason, before=before, limit=asked.PAGE)
    total = (await engine.stats()).counts[JobState.DEAD]
    causes = await engine.dlq.causes(limit=_MOST_CAUSES)
    return dlq_view(
        found.page,
        causes,
        now,
        total=total,
        reason=reason,
        before=before,
        looked=found.looked,
    )


def dlq_view(
    page: "JobPage",
    causes: "Sequence[Cause]",
    now: datetime,
    *,
    total: int,
    reason: str | None = None,
    before: int | None = None,
    looked: int = STEP,
) -> DlqView:
    """
    Return the dead letter queue as it is shown, with what was asked for.

    Args:
        page: Dead jobs, of the cause that was asked for.
        causes: Why jobs died.
        now: In UTC.
        total: How many there are.
        reason: The cause whose jobs are shown, None for all.
        before: Where the page begins, None for the first.
        looked: How many jobs were looked at for the page, where it was not all.
    """
    return DlqView(
        total=total,
        causes=tuple(_cause(cause, now, chosen=reason) for cause in causes),
        others=_others(causes, total),
        rows=rows(page, now, is_first=before is None, looked=looked),
        reason=reason,
        before=before,
    )


def _cause(cause: "Cause", now: datetime, *, chosen: str | None) -> CauseRow:
    return CauseRow(
        reason=cause.reason,
        words=_words(cause.reason),
        count=words.number(cause.count),
        jobs=words.counted(cause.count, "job"),
        latest=words.moment(cause.latest, now),
        is_chosen=cause.reason == chosen,
    )


def _others(causes: "Sequence[Cause]", total: int) -> str:
    # Where all causes are there, a difference is what died between the two looks.
    left = total - sum(cause.count for cause in causes) if len(causes) >= _MOST_CAUSES else 0
    return words.counted(left, "job") if left > 0 else ""


def _words(reason: str) -> str:
    return readable_line(reason, longest=_LONGEST) or "no reason given"
