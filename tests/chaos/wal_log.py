"""Everything that SQLite did to its files, and everything that was acknowledged, in order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.faults_vfs import OK


class Record(msgspec.Struct, frozen=True, array_like=True):
    """
    One thing that happened.

    Attributes:
        kind: open, write, truncate, sync, delete; or job and event: acknowledged.
        name: The file's name, or the job's id.
        number: Where it was written, the size it was cut to, the record from which on
            a sync covers nothing, whether a deletion was flushed, or the event.
        data: What was written.
    """

    kind: str
    name: str
    number: int = 0
    data: bytes = b""


class Story(msgspec.Struct, frozen=True):
    """
    The records of a whole program, and what was in the database at its end.

    Attributes:
        records: In order.
        events: Sequence number, job, kind and run of each event, in order.
    """

    records: tuple[Record, ...]
    events: tuple[tuple[int, int, str, int], ...]


class Log:
    """A watcher that fails nothing and forgets nothing."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def acknowledged(self, job_id: str) -> None:
        """Say that somebody was told that this job is safe."""
        self.records.append(Record("job", job_id))

    def seen(self, event: int) -> None:
        """Say that somebody was shown this event."""
        self.records.append(Record("event", "", event))

    def fault(self, operation: str, path: str) -> int:
        """Fail nothing."""
        del operation, path
        return OK

    def opened(self, path: str) -> None:
        self.records.append(Record("open", _name(path)))

    def deleted(self, path: str, *, synced: bool) -> None:
        self.records.append(Record("delete", _name(path), int(synced)))

    def wrote(self, path: str, offset: int, data: bytes) -> None:
        self.records.append(Record("write", _name(path), offset, data))

    def truncated(self, path: str, size: int) -> None:
        self.records.append(Record("truncate", _name(path), size))

    def sync_begins(self, path: str) -> int:
        del path
        return len(self.records)

    def synced(self, path: str, mark: int) -> None:
        self.records.append(Record("sync", _name(path), mark))


def _name(path: str) -> str:
    """Return a file's name; this is called for every write."""
    return path.rpartition("/")[2]


_decoder: Final = msgspec.msgpack.Decoder(Story)


def save(
    file: Path, records: Sequence[Record], events: Sequence[tuple[int, int, str, int]]
) -> None:
    """Write a story to a file."""
    file.write_bytes(msgspec.msgpack.encode(Story(tuple(records), tuple(events))))


def load(file: Path) -> Story:
    """Read a story from a file."""
    return _decoder.decode(file.read_bytes())
