"""Which job a page has shown: an id may be taken again, and what was asked is asked of that job."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

import msgspec

from queuectl import (
    InvalidValueError,
    JobNotFoundError,
    format_time,
    parse_time,
)

if TYPE_CHECKING:
    from queuectl import QueueEngine

# Behind an id, in which it cannot be.
_MARK: Final = "@"
_TEXT: Final = re.compile(rf"([^{_MARK}]+)(?:{_MARK}([0-9]{{1,18}})(?:{_MARK}([^{_MARK}]+))?)?")


class SeenJob(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job as a page has shown it.

    Attributes:
        id: Its id, by which another may be known by now.
        seq: Its number; None where only the id was said.
        updated_at: When it had changed last; None where it does not matter whether it has since.
    """

    id: str
    seq: int | None = None
    updated_at: datetime | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """
        Read what `__str__` wrote into a form, or a bare id.

        Raises:
            InvalidValueError: It is neither.
        """
        found = _TEXT.fullmatch(text)

        if found is None:
            raise InvalidValueError("this is not a job as a page names it")

        job_id, seq, updated_at = found.groups()
        return cls(
            id=job_id,
            seq=None if seq is None else int(seq),
            updated_at=None if updated_at is None else parse_time(updated_at),
        )

    def __str__(self) -> str:
        """Write it as the value of a field."""
        said = [] if self.seq is None else [str(self.seq)]
        said += [] if self.updated_at is None else [format_time(self.updated_at)]
        return _MARK.join([self.id, *said])

    @property
    def seqs(self) -> dict[str, int]:
        """Its number by its id; empty where only the id was said."""
        return {} if self.seq is None else {self.id: self.seq}


def seen_jobs(texts: Iterable[str]) -> list[SeenJob]:
    """
    Return the jobs that a form names, each once.

    Raises:
        InvalidValueError: One is named as no page names it.
    """
    seen = map(SeenJob.read, filter(None, texts))
    return list({each.id: each for each in seen}.values())


async def looked_at(engine: "QueueEngine", seen: SeenJob, *, is_timed: bool) -> SeenJob:
    """
    Return a job as it is named where a question is asked about it.

    Args:
        engine: Open.
        seen: As it was named by the page before. What that showed is not taken for another
            that has the id now; what is gone stays as it is, and the answer will tell.
        is_timed: Whether it is to be as it is now when that is answered.
    """
    try:
        job = await engine.get(seen.id)
    except JobNotFoundError:
        # No job has that number: none is meant that comes until the answer.
        return seen if seen.seq is not None else SeenJob(id=seen.id, seq=0)

    if seen.seq not in {None, job.seq}:
        return seen

    return SeenJob(id=job.id, seq=job.seq, updated_at=job.updated_at if is_timed else None)
