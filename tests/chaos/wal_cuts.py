"""
What a power loss may leave of a database, worked out from everything that was written.

What a sync covered is on the disk. Of what came after it, anything may be: nothing, the
first few writes, a part of a write, or sectors of any of them. All of that is tried at the
end of each stretch between two syncs, when most has been acknowledged.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tests.chaos.wal_log import Record

_SECTOR: Final = 512

# How many mixtures of sectors are tried of each stretch.
_MIXTURES: Final = 6


class Cut(msgspec.Struct, frozen=True):
    """
    What is left at one moment, in one way.

    Attributes:
        at: The record before which the power was lost.
        how: Which of the writes that no sync covered are there.
        files: Names and contents.
        jobs: The jobs that were acknowledged.
        event: The last event that was shown.
    """

    at: int
    how: str
    files: dict[str, bytes]
    jobs: frozenset[str]
    event: int


class _File:
    """A file: what is surely on the disk, and what may be."""

    def __init__(self, before: "_File | None" = None) -> None:
        self.safe = bytearray()
        self.waiting: list[tuple[int, Record]] = []
        self.is_named = before is None
        # What its name stands for until the folder is flushed.
        self.before = before

    def sync(self, mark: int) -> None:
        """Take what a sync covered."""
        for at, record in self.waiting:
            if at < mark:
                _apply(self.safe, record)

        self.waiting = [(at, record) for at, record in self.waiting if at >= mark]

    def least(self) -> bytes | None:
        """Return what is surely there, None where not even its name is."""
        if self.is_named:
            return bytes(self.safe)

        return None if self.before is None else self.before.most()

    def most(self) -> bytes:
        """Return all that was written."""
        content = bytearray(self.safe)

        for _, record in self.waiting:
            _apply(content, record)

        return bytes(content)


class _Gone(_File):
    """A file that was deleted, while the folder was not flushed."""

    def most(self) -> bytes:
        """Return what a new file of the name would replace."""
        return b"" if self.before is None else self.before.most()


class Disk:
    """
    The files of a database as a log of writes leaves them.

    Args:
        records: Everything that happened.
        seed: Chooses the mixtures of sectors.
    """

    def __init__(self, records: Sequence[Record], *, seed: int) -> None:
        self._records = records
        self._luck = random.Random(seed)  # noqa: S311 (the same in every run)
        self._files: dict[str, _File] = {}
        self._jobs: set[str] = set()
        self._event = 0

    def cuts(self) -> Iterator[Cut]:
        """Yield everything that may be left, at every moment that differs."""
        for at, record in enumerate(self._records):
            match record.kind:
                case "job":
                    self._jobs.add(record.name)
                case "event":
                    self._event = max(self._event, record.number)
                case "sync":
                    yield from self._cuts_of(record.name, at)
                    self._sync(record)
                case "delete":
                    yield from self._cuts_of(record.name, at)
                    self._delete(record)
                case "open":
                    self._open(record.name)
                case _:
                    self._files[record.name].waiting.append((at, record))

        for name in list(self._files):
            yield from self._cuts_of(name, len(self._records))

    def _open(self, name: str) -> None:
        found = self._files.get(name)

        # The database itself is made before SQLite opens it.
        if found is None:
            self._files[name] = _File()
            self._files[name].is_named = name.endswith(".db")
        elif isinstance(found, _Gone):
            self._files[name] = _File(before=found.before)

    def _sync(self, record: Record) -> None:
        file = self._files[record.name]
        file.sync(record.number)

        if not file.is_named:
            # SQLite flushes the folder with the first sync of a file that it made.
            for name, other in list(self._files.items()):
                other.is_named, other.before = True, None

                if isinstance(other, _Gone):
                    del self._files[name]

    def _delete(self, record: Record) -> None:
        if record.number:
            del self._files[record.name]
        else:
            self._files[record.name] = _Gone(before=self._files[record.name])

    def _cuts_of(self, name: str, at: int) -> Iterator[Cut]:
        """Yield what may be left of one file, beside the least and the most of the others."""
        file = self._files[name]
        jobs = frozenset(self._jobs)

        for number, (how, content) in enumerate(_states(file, self._luck)):
            is_least = number % 2 == 0
            files: dict[str, bytes] = {}

            for other, kept in self._files.items():
                left = kept.least() if is_least else kept.most()

                if other == name:
                    left = content

                if left is not None and (other == name or is_least or not isinstance(kept, _Gone)):
                    files[other] = left

            yield Cut(at=at, how=f"{name}: {how}", files=files, jobs=jobs, event=self._event)


def _states(file: _File, luck: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """Yield what may be left of a file."""
    yield "what was synced", file.least()
    content = bytearray(file.safe)

    for count, (_, record) in enumerate(file.waiting):
        for size in _torn(record):
            torn = bytearray(content)
            _apply(torn, msgspec.structs.replace(record, data=record.data[:size]))
            yield f"{count} writes and {size} bytes", bytes(torn)

        _apply(content, record)
        yield f"{count + 1} writes", bytes(content)

    if file.waiting:
        for number in range(_MIXTURES):
            yield f"mixture {number}", _mixture(file, luck)


def _torn(record: Record) -> tuple[int, ...]:
    """Return where a write may be torn; a frame is two of them, its header and its page."""
    size = len(record.data)

    if record.kind != "write":
        return ()

    return (size // 2,) if size < _SECTOR else (1, size // 2, size - 1)


def _mixture(file: _File, luck: random.Random) -> bytes:
    """Return the file with some sectors of some writes, and zeros where it grew."""
    content = bytearray(file.safe)

    for _, record in file.waiting:
        if record.kind != "write":
            if luck.random() < 0.5:
                _apply(content, record)
            continue

        for start in range(0, len(record.data), _SECTOR):
            if luck.random() < 0.5:
                data = record.data[start : start + _SECTOR]
                _apply(content, Record("write", "", record.number + start, data))

    return bytes(content)


def _apply(content: bytearray, record: Record) -> None:
    if record.kind == "truncate":
        del content[record.number :]
        return

    if len(content) < record.number:
        content.extend(bytes(record.number - len(content)))

    content[record.number : record.number + len(record.data)] = record.data
