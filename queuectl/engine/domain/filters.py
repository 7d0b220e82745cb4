"""What a listing can be asked for."""

import msgspec

from queuectl.engine.domain.states import JobState


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which jobs are meant; what is None does not matter.

    Attributes:
        state: Only jobs in this state.
        tag: Only jobs with this tag.
    """

    state: JobState | None = None
    tag: str | None = None
