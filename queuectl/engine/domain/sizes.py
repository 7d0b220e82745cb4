"""Sizes as people write them: ``512K``, ``10 MiB``."""

import re
from typing import Final

from queuectl.engine.errors import InvalidValueError, quoted

_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE: Final = re.compile(r"([-+]?\d+)(?: ?([kmg])(?:ib)?)?", re.ASCII)

# What JSON's readers take for a whole number.
LARGEST: Final = 2**53

# Digits that are enough for it; Python refuses to read thousands.
_MOST_DIGITS: Final = 100

_FORMS: Final = "(expected a number of bytes, or 512K, 10M, 1G, also as 10MiB)"
_RANGE: Final = f"(expected 0 to {LARGEST} bytes)"


def parse_size(text: str) -> int:
    """
    Read a size, in bytes.

    Args:
        text: Bytes as a whole number, or one with a unit from ``K M G``, also
            written ``KiB MiB GiB``, which are powers of 1024.

    Raises:
        InvalidValueError: It is neither, negative, or more than 2 to the power
            of 53.
    """
    found = _SIZE.fullmatch(text.strip().lower())

    if found is None:
        raise InvalidValueError(f"not a size: {quoted(text)} {_FORMS}")

    number, unit = found.groups(default="")

    if len(number) > _MOST_DIGITS or not 0 <= (size := int(number) * _UNITS[unit]) <= LARGEST:
        raise InvalidValueError(f"out of range: {quoted(text)} {_RANGE}")

    return size
