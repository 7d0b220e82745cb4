"""What a look at an installation found, and what to do about it."""

from enum import StrEnum
from typing import Final

import msgspec

_STEP: Final = 1024


class Verdict(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that was looked at.

    Attributes:
        check: What was looked at: a word that does not change, as
            ``sqlite-version``. One check may have several findings.
        verdict: ``ok``, ``note`` for what is good to know, ``problem`` for
            what has to be mended.
        words: What was found, as a sentence.
        advice: What to do about it, None where nothing has to be done.
    """

    check: str
    verdict: Verdict
    words: str
    advice: str | None = None


def ok(check: str, words: str) -> Finding:
    """Return a finding that nothing has to be done about."""
    return Finding(check=check, verdict=Verdict.OK, words=words)


def note(check: str, words: str, advice: str) -> Finding:
    """Return a finding that is good to know."""
    return Finding(check=check, verdict=Verdict.NOTE, words=words, advice=advice)


def problem(check: str, words: str, advice: str) -> Finding:
    """Return a finding that has to be mended."""
    return Finding(check=check, verdict=Verdict.PROBLEM, words=words, advice=advice)


def in_bytes(size: int) -> str:
    """Write a number of bytes for people: ``812 B``, ``1.5 KiB``, ``3.2 GiB``."""
    if size < _STEP:
        return f"{size} B"

    amount = float(size)

    for unit in ("KiB", "MiB", "GiB"):
        amount /= _STEP

        if amount < _STEP:
            return f"{amount:.1f} {unit}"

    return f"{amount / _STEP:.1f} TiB"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things: ``1 job``, ``2 jobs``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
