"""Makes ids that sort by time."""

import os
from datetime import UTC, datetime, timedelta
from typing import Final

# Crockford's base 32: no letter that could be taken for a digit.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_DIGITS: Final = 10
_MILLISECOND: Final = timedelta(milliseconds=1)
_RANDOM_DIGITS: Final = 10
# The top bit of the 50 is left free for counting up.
_RANDOM_BITS: Final = 5 * _RANDOM_DIGITS - 1


class IdMaker:
    """
    Makes ids of 20 characters: 10 of milliseconds, 10 at random.

    Ids made in the same millisecond count up from the first one's random part,
    so that they sort in the order in which they were made.
    """

    def __init__(self) -> None:
        self._last = (0, 0)
        self._prefix = _digits(0, _TIME_DIGITS)

    def make(self, now: datetime) -> str:
        """Return a new id, greater than every one made before."""
        millisecond = (now - _EPOCH) // _MILLISECOND
        last_millisecond, last_random = self._last

        if millisecond > last_millisecond:
            self._last = millisecond, _random_bits()
            self._prefix = _digits(millisecond, _TIME_DIGITS)
        else:
            self._last = last_millisecond, last_random + 1

        return self._prefix + _digits(self._last[1], _RANDOM_DIGITS)


def _random_bits() -> int:
    """Return a random number; the module ``secrets`` takes a while to import."""
    return int.from_bytes(os.urandom(7)) & ((1 << _RANDOM_BITS) - 1)


def _digits(number: int, length: int) -> str:
    """Write a number in base 32, two digits at a time."""
    pairs = []

    for _ in range(length // 2):
        number, pair = divmod(number, 1024)
        pairs.append(_PAIRS[pair])

    return "".join(reversed(pairs))
