"""Logs of what was done: lines of JSON, each on the disk before its writer goes on."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from tests.chaos.moments import wall

# How the words of an act begin that was not done.
REFUSED: Final = "refused: "

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A line of a log.

    Attributes:
        at: The time of day.
        what: ``invoke``, ``ok`` and ``unknown`` of clients, else a fault or an act.
        ids: The jobs or workers that it is about.
        batch: Which call of a client, or which act.
        pid: The process that it is about, 0 for none.
        runs: Job and attempt of the runs that it is about.
        until: When it was over, where it lasts; of an act, when it was answered.
        words: What else there is to say.
    """

    at: float
    what: str
    ids: list[str] = []
    batch: int = -1
    pid: int = 0
    runs: list[tuple[str, int]] = []
    until: float | None = None
    words: str | None = None


class Logbook:
    """
    Appends to a log.

    Args:
        path: The file, made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, _FLAGS, 0o600)
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, what: str, *, at: float | None = None, **more: Any) -> Entry:
        """Append an entry; it is on the disk when this returns."""
        entry = Entry(at=wall() if at is None else at, what=what, **more)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")
        os.fdatasync(self._file)
        return entry

    def ask(self, what: str, ids: list[str]) -> Entry:
        """Write down an act before it is done; who is killed over it has asked all the same."""
        self._asked += 1
        return self.write(what, ids=ids, batch=self._asked)

    def answer(self, asked: Entry, refusal: str | None = None) -> None:
        """Write down that an act was done, or that it was refused and will never be done."""
        words = None if refusal is None else f"{REFUSED}{refusal}"
        self.write(
            asked.what, at=asked.at, ids=asked.ids, batch=asked.batch, until=wall(), words=words
        )


def read_acts(path: Path) -> list[Entry]:
    """Return the acts of a log; one without an ``until`` was not answered, and may be done yet."""
    return list({entry.batch: entry for entry in read_log(path)}.values())


def read_log(path: Path) -> Iterator[Entry]:
    """Yield the whole lines of a log, none where there is no file."""
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line, type=Entry)
