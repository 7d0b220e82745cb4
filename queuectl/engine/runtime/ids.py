"""Makes ids that sort by time."""

import os
from datetime import UTC, datetime, timedelta
from typing import Final

# Crockford's base 32: no letter that could be taken for a digit.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIR_BITS: Final = 10
_PAIR: Final = (1 << _PAIR_BITS) - 1
_LAST_BITS: Final = (1 << 2 * _PAIR_BITS) - 1
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
        self._now = _EPOCH
        self._millisecond = 0
        self._random = 0
        # All but the last four digits.
        self._head = _digits(0, _TIME_DIGITS + _RANDOM_DIGITS - 4)

    def make(self, now: datetime) -> str:
        """Return a new id, greater than every one made before."""
        # By identity first: thousands that are made together have one time.
        if now is not self._now and self._is_later(now):
            self._random = _random_bits()
            self._write_head()
        else:
            self._random += 1

            if not self._random & _LAST_BITS:
                self._write_head()

        last = self._random & _LAST_BITS
        return self._head + _PAIRS[last >> _PAIR_BITS] + _PAIRS[last & _PAIR]

    def _is_later(self, now: datetime) -> bool:
        """Take the time, where it is another millisecond than the last one's, and after it."""
        self._now = now
        millisecond = (now - _EPOCH) // _MILLISECOND

        if millisecond <= self._millisecond:
            return False

        self._millisecond = millisecond
        return True

    def _write_head(self) -> None:
        time = _digits(self._millisecond, _TIME_DIGITS)
        self._head = time + _digits(self._random >> 2 * _PAIR_BITS, _RANDOM_DIGITS - 4)


def _random_bits() -> int:
    """Return a random number; the module ``secrets`` takes a while to import."""
    return int.from_bytes(os.urandom(7)) & ((1 << _RANDOM_BITS) - 1)


def _digits(number: int, length: int) -> str:
    """Write a number in base 32, two digits at a time."""
    pairs = []

    for _ in range(length // 2):
        number, pair = divmod(number, _PAIR + 1)
        pairs.append(_PAIRS[pair])

    return "".join(reversed(pairs))
