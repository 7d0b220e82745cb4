"""What a listing can be asked for."""

from typing import Final

import msgspec

from queuectl.engine.domain.states import JobState, parse_state
from queuectl.engine.errors import InvalidValueError

_LONGEST_SEARCH: Final = 1000


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which jobs are meant; what is None does not matter.

    Attributes:
        state: Only jobs in this state.
        tag: Only jobs with this tag.
        search: Only jobs with this text somewhere in their command, id or reason; A
            to Z and a to z are the same.
        reason: Only jobs with this reason; empty for those without one.
    """

    state: JobState | None = None
    tag: str | None = None
    search: str | None = None
    reason: str | None = None

    @property
    def is_checked(self) -> bool:
        """Whether each job has to be looked at: no index leads to those that are meant."""
        return self.search is not None or self.reason is not None


def job_filter(
    state: JobState | str | None,
    tag: str | None,
    *,
    search: str | None = None,
    reason: str | None = None,
) -> JobFilter:
    """
    Return the filter that was meant; a search for nothing is none.

    Raises:
        InvalidValueError: There is no such state, or nothing like that can be found.
    """
    return JobFilter(
        state=None if state is None else parse_state(state),
        tag=tag,
        search=_check_search(search) if search else None,
        reason=reason,
    )


def _check_search(text: str) -> str:
    if len(text) > _LONGEST_SEARCH:
        msg = f"a search has at most {_LONGEST_SEARCH} characters, not {len(text)}"
        raise InvalidValueError(msg)

    if "\0" in text:
        # SQLite would look for what stands before it.
        msg = "a search cannot have a NUL character: no command has one"
        raise InvalidValueError(msg)

    return text
