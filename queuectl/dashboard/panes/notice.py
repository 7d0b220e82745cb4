"""What was done, told on the page that comes after it."""

from collections.abc import Mapping
from typing import Final

from queuectl.dashboard import words

# An address carries the code and the number, not the words: nobody can put words of
# their own on our pages by a link.
_JOBS: Final = {
    "retried": "went back to the queue",
    "cancelled": "cancelled; what runs is being ended",
    "deleted": "deleted",
    "due": "due now",
    "purged": "deleted",
    "enqueued": "enqueued",
}
_WORKERS: Final = {
    "draining": "will leave when their running jobs are done",
    "stopping": "will end their running jobs, give them back, and leave",
}
_PLAIN: Final = {
    "set": "Saved. Every process sees it from its next look on.",
    "unset": "Back to the default.",
    "none": "Nothing was selected: tick some jobs first.",
}
_DIGITS: Final = 12


def notice(params: Mapping[str, str]) -> str | None:
    """Return what to tell, None where nothing was done."""
    code = params.get("done", "")
    given = params.get("count", "1")
    count = int(given) if given.isascii() and given.isdecimal() and len(given) < _DIGITS else 1

    if code in _JOBS:
        return f"{words.counted(count, 'job')} {_JOBS[code]}."

    if code in _WORKERS:
        return f"{words.counted(count, 'worker')} {_WORKERS[code]}."

    return _PLAIN.get(code)
