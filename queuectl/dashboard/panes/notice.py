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
    "draining": "will leave when {their} running jobs are done",
    "stopping": "will end {their} running jobs, give them back, and leave",
}
_PLAIN: Final = {
    "set": "Saved. Every process sees it from its next look on.",
    "unset": "Back to the default.",
    "none": "Nothing was selected: tick some jobs first.",
}
_SKIPPED: Final = "gone or changed meanwhile, or in a state that does not allow it"
_DIGITS: Final = 12


def notice(params: Mapping[str, str]) -> str | None:
    """Return what to tell, None where nothing was done."""
    code = params.get("done", "")
    count = _number(params, "count", otherwise=1)

    if code in _JOBS:
        skipped = _number(params, "skipped", otherwise=0)
        told = f"{words.counted(count, 'job')} {_JOBS[code]}."
        return f"{told} {words.counted(skipped, 'job')} skipped: {_SKIPPED}." if skipped else told

    if code in _WORKERS:
        told = _WORKERS[code].format(their="its" if count == 1 else "their")
        return f"{words.counted(count, 'worker')} {told}."

    return _PLAIN.get(code)


def _number(params: Mapping[str, str], name: str, *, otherwise: int) -> int:
    given = params.get(name, "")
    is_number = given.isascii() and given.isdecimal() and len(given) < _DIGITS
    return int(given) if is_number else otherwise
