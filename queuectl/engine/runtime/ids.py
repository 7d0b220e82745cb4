"""Makes ids that sort by time."""

import secrets
from datetime import UTC, datetime
from typing import Final

# Crockford's base 32: no letter that could be taken for a digit.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_DIGITS: Final = 10
_RANDOM_DIGITS: Final = 10
_RANDOM_BITS: Final = 5 * _RANDOM_DIGITS


class IdMaker:
    """
    Makes ids of 20 characters: 10 of milliseconds, 10 at random.

    Ids made in the same millisecond count up from the first one's random part,
    so that they sort in the order in which they were made.
    """

    def __init__(self) -> None:
        self._last = (0, 0)

    def make(self, now: datetime) -> str:
        """Return a new id, greater than every one made before."""
        millisecond = int((now - _EPOCH).total_seconds() * 1000)
        last_millisecond, last_random = self._last

        if millisecond > last_millisecond:
            # The top bit is left free for counting up.
            self._last = millisecond, secrets.randbits(_RANDOM_BITS - 1)
        else:
            self._last = last_millisecond, last_random + 1

        return _digits(self._last[0], _TIME_DIGITS) + _digits(self._last[1], _RANDOM_DIGITS)


def _digits(number: int, length: int) -> str:
    digits = []

    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])

    return "".join(reversed(digits))
