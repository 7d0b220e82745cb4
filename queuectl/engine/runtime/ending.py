"""How whatever is left of a run is ended: TERM, grace, KILL; and what is left then."""

from enum import Enum, auto
from signal import SIGKILL, SIGTERM, Signals
from typing import Final

# Only a process that the kernel itself holds outlives a KILL for so long, in seconds.
_LONGEST_DEATH: Final = 5.0


class Remains(Enum):
    """What is left of something that was to be ended."""

    GONE = auto()
    LEFT = auto()
    # Somebody has its files, and nobody is seen who has.
    HIDDEN = auto()


def steps(grace: float) -> tuple[tuple[Signals, float], ...]:
    """Return what to send, one after the other, and how many seconds to wait for it to work."""
    return (SIGTERM, grace), (SIGKILL, _LONGEST_DEATH)
