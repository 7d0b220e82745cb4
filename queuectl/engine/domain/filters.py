"""What a listing can be asked for."""

import msgspec

from queuectl.engine.domain.states import JobState, parse_state


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which jobs are meant; what is None does not matter.

    Attributes:
        state: Only jobs in this state.
        tag: Only jobs with this tag.
    """

    state: JobState | None = None
    tag: str | None = None


def job_filter(state: JobState | str | None, tag: str | None) -> JobFilter:
    """
    Return the filter that was meant.

    Raises:
        InvalidValueError: There is no such state.
    """
    return JobFilter(state=None if state is None else parse_state(state), tag=tag)
