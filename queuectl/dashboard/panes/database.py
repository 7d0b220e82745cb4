"""The database: its size and its health."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import Verdict
from queuectl.dashboard import words
from queuectl.dashboard.charts import meter
from queuectl.dashboard.text import readable_line
from queuectl.dashboard.words import Moment

if TYPE_CHECKING:
    from queuectl import DatabaseInfo, Finding, QueueEngine

_VERDICTS: Final = {
    Verdict.OK: "all well",
    Verdict.NOTE: "good to know",
    Verdict.PROBLEM: "to be mended",
}


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something that was looked at.

    Attributes:
        check: What.
        verdict: ``ok``, ``note`` or ``problem``.
        weight: The verdict in words.
        words: What was found.
        advice: What to do; empty where nothing is to be done.
    """

    check: str
    verdict: str
    weight: str
    words: str
    advice: str


class DatabaseView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The database.

    Attributes:
        path: Where it is.
        total: Its size with everything that belongs to it.
        used: Of the main file, what holds rows, in words.
        used_meter: The same drawn, SVG.
        parts: What takes how much: name, size, what it is.
        versions: Name and version.
        events: How many events are kept.
        oldest_event: When the first of them happened.
        jobs: How many jobs there are.
        findings: What a look at it found; None where nobody asked.
    """

    path: str
    total: str
    used: str
    used_meter: str
    parts: tuple[tuple[str, str, str], ...]
    versions: tuple[tuple[str, str], ...]
    events: str
    oldest_event: Moment | None
    jobs: str
    findings: tuple[FindingRow, ...] | None


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> DatabaseView:
    """Look at the database; where ``check`` was asked for, also for what is wrong with it."""
    info = await engine.database_info()
    jobs = sum((await engine.stats()).counts.values())
    findings = await engine.doctor() if params.get("check") else None
    return database_view(info, findings, now, jobs=jobs)


def database_view(
    info: "DatabaseInfo", findings: "Sequence[Finding] | None", now: datetime, *, jobs: int
) -> DatabaseView:
    """
    Return the database as it is shown.

    Args:
        info: Its sizes.
        findings: What a look at it found; None where nobody asked.
        now: In UTC.
        jobs: How many jobs there are.
    """
    used = info.size_bytes - info.free_bytes
    told = f"{words.share(used, info.size_bytes)} of the file holds rows"

    return DatabaseView(
        path=readable_line(info.path),
        total=words.size(info.size_bytes + info.wal_bytes + info.outputs_bytes),
        used=told,
        used_meter=meter(used, info.size_bytes, title=told),
        parts=(
            ("database", words.size(info.size_bytes), "jobs, runs, events and small outputs"),
            ("free inside", words.size(info.free_bytes), "used again before the file grows"),
            ("log", words.size(info.wal_bytes), "changes that are not in the database yet"),
            ("outputs", words.size(info.outputs_bytes), "large outputs, in files beside it"),
        ),
        versions=(("schema", str(info.schema_version)), ("SQLite", info.sqlite_version)),
        events=words.number(info.events),
        oldest_event=None if info.oldest_event is None else words.moment(info.oldest_event, now),
        jobs=words.number(jobs),
        findings=None if findings is None else tuple(_finding(each) for each in findings),
    )


def _finding(finding: "Finding") -> FindingRow:
    return FindingRow(
        check=finding.check,
        verdict=finding.verdict.value,
        weight=_VERDICTS[finding.verdict],
        words=readable_line(finding.words),
        advice=readable_line(finding.advice or ""),
    )
