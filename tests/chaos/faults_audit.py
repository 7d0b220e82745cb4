"""
A program that uses a queue in every way, and tells how it treats the database's files.

Tests run it as a process of its own, ``python -m tests.chaos.faults_audit FOLDER FILE``,
for what watches it cannot be taken out again.
"""

import asyncio
import fcntl
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from queuectl import QueueEngine
from queuectl.cli.app import main as run_program
from queuectl.engine.store.sqlite import checkpoint
from tests.chaos.faults_vfs import OK, WatchedFiles

_SIDES: Final = ("", "-wal", "-shm", "-journal")
_SMALL_LOG: Final = 32 * 1024

COMMANDS: Final = (
    ("enqueue", "--id", "last", "--", "true"),
    ("list",),
    ("status",),
    ("info", "last"),
    ("logs", "j70"),
    ("cancel", "last"),
    ("retry", "last"),
    ("worker", "start", "--drain"),
    ("wait", "last"),
    ("config", "set", "priority", "5"),
    ("db", "check"),
    ("db", "migrate"),
    ("db", "vacuum"),
    ("db", "backup", "copy-of-program.db"),
    ("purge", "--yes"),
)


class PageWrite(msgspec.Struct, frozen=True):
    """
    A write to the database itself, as a checkpoint makes them.

    Attributes:
        is_alone: Whether we kept every commit of ours away meanwhile.
        is_last: Whether nobody else had the database open: its log is deleted next.
    """

    is_alone: bool
    is_last: bool


class Conduct(msgspec.Struct, kw_only=True):
    """
    How the files were treated.

    Attributes:
        opened: Where somebody opened one of the files behind SQLite's back.
        connects: How often Python says that somebody connected.
        connections: The statements of each connection.
        checkpoints: Each statement that makes a checkpoint, and whether it was alone.
        commits: Of each commit, whether checkpoints were kept away.
        pages: The writes to the database itself, those of its making left out.
        codes: How the commands ended.
    """

    opened: list[str] = []
    connects: int = 0
    connections: list[list[str]] = []
    checkpoints: list[tuple[str, bool]] = []
    commits: list[bool] = []
    pages: list[PageWrite] = []
    codes: list[tuple[str, int]] = []


class Auditor:
    """
    Watches a process for the rest of its life.

    Args:
        database: Whose files are watched.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._watched = {f"{database}{end}" for end in _SIDES}
        self._pages: list[tuple[str, bool]] = []
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect
        self.conduct = Conduct(opened=[], connections=[], checkpoints=[], commits=[], codes=[])

    def hear(self, event: str, details: tuple[Any, ...]) -> None:
        """Be told by Python what is about to happen."""
        if event == "open" and not isinstance(details[0], int):
            self._hear_open(os.fsdecode(details[0]), details[2])
        elif event == "sqlite3.connect":
            self.conduct.connects += 1

    def connect(self, *arguments: Any, **named: Any) -> sqlite3.Connection:
        """Connect as sqlite3 does, and listen to what is said."""
        statements: list[str] = []
        connection = self._connect(*arguments, **named)
        self.conduct.connections.append(statements)
        connection.set_trace_callback(lambda text: self._hear_statement(statements, text))
        return connection

    def _hear_open(self, path: str, flags: int) -> None:
        # One that is only ever made opens nothing that is in use.
        is_made = flags & os.O_CREAT and flags & os.O_EXCL

        if os.path.realpath(path) in self._watched and not is_made:
            frames = traceback.extract_stack()[-4:-1]
            self.conduct.opened.append(f"{path} {[f'{f.filename}:{f.lineno}' for f in frames]}")

    def _hear_statement(self, statements: list[str], text: str) -> None:
        statements.append(text)

        if "checkpoint(" in text:
            self.conduct.checkpoints.append((text, self._is_alone()))
        elif text == "COMMIT":
            self.conduct.commits.append(self._keeps_checkpoints_away())

    def _is_alone(self) -> bool:
        """Whether nobody of ours could begin a commit now."""
        return not self._can_lock(fcntl.LOCK_SH)

    def _keeps_checkpoints_away(self) -> bool:
        """Whether nobody of ours could begin a checkpoint now."""
        return not self._can_lock(fcntl.LOCK_EX)

    def _can_lock(self, how: int) -> bool:
        gate = os.open(f"{self._database}-checkpoint", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

        try:
            fcntl.flock(gate, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(gate)

    def fault(self, operation: str, path: str) -> int:
        """Fail nothing."""
        del operation, path
        return OK

    def opened(self, path: str) -> None:
        del path

    def deleted(self, path: str, *, synced: bool) -> None:
        del synced

        if path == f"{self._database}-wal":
            self._settle(is_last=True)
        elif path == f"{self._database}-journal":
            # What makes the database: nobody can know of it yet.
            self._pages.clear()

    def wrote(self, path: str, offset: int, data: bytes) -> None:
        del offset, data

        if path == str(self._database):
            self._pages.append((path, self._is_alone()))
        elif path == f"{self._database}-wal":
            self._settle(is_last=False)

    def truncated(self, path: str, size: int) -> None:
        del path, size

    def sync_begins(self, path: str) -> int:
        del path
        return 0

    def synced(self, path: str, mark: int) -> None:
        del path, mark

    def _settle(self, *, is_last: bool) -> None:
        """Say of what was written to the database whether its log was deleted right after."""
        self.conduct.pages += [PageWrite(alone, is_last) for _, alone in self._pages]
        self._pages.clear()


async def _use(database: Path) -> None:
    """Use two engines on one database in every way."""
    async with QueueEngine(database) as one, QueueEngine(database) as two, two.workers(2):
        async with asyncio.TaskGroup() as tasks:
            for number in range(40):
                engine = (one, two)[number % 2]
                tasks.create_task(engine.enqueue(f"echo {'x' * 900}", id=f"j{number}"))

        await one.wait_all([f"j{number}" for number in range(40)], timeout=20)

        for number in range(40, 80):
            await one.enqueue(":", id=f"j{number}", tags=["later"], delay=3600)

        await one.cancel("j79")
        await one.retry("j79")
        await one.wait("j79", timeout=20)
        await one.delete("j78")
        await two.purge(older_than=0)
        await one.check()
        await one.backup(database.with_name("copy.db"))
        await one.vacuum()
        assert (await two.stats()).counts
        assert await one.attempts("j77") == []


def main() -> None:
    """Use a queue, and save how its files were treated."""
    folder, answer = Path(sys.argv[1]), Path(sys.argv[2])
    database = folder / "queue.db"
    auditor = Auditor(database)
    WatchedFiles(auditor).install()
    sys.addaudithook(auditor.hear)
    sqlite3.connect = auditor.connect  # type: ignore[assignment]
    setattr(checkpoint, "LARGEST_WAL", _SMALL_LOG)  # noqa: B010 (a constant)
    os.chdir(folder)

    if sys.argv[3:] == ["--plant"]:
        _plant(database)
        asyncio.run(_use(database))
    else:
        asyncio.run(_use(database))
        _use_program(database, auditor.conduct)

    answer.write_bytes(msgspec.json.encode(auditor.conduct))


def _plant(database: Path) -> None:
    """Let the engine be careless: make passive checkpoints beside commits, and open the file."""

    def truncate(self: checkpoint.Checkpointer, connection: sqlite3.Connection) -> bool:
        del self
        assert database.read_bytes()
        connection.execute("PRAGMA wal_autocheckpoint = 1000")
        return bool(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())

    setattr(checkpoint.Checkpointer, "_truncate", truncate)  # noqa: B010
    setattr(checkpoint.Checkpointer, "_is_alone", lambda _: True)  # noqa: B010
    setattr(checkpoint.Checkpointer, "committing", lambda _: nullcontext())  # noqa: B010


def _use_program(database: Path, conduct: Conduct) -> None:
    """Run every command that writes or reads a database."""
    for words in COMMANDS:
        sys.argv = ["queuectl", "--db", str(database), *words]

        with suppress(SystemExit):
            code = 0
            try:
                run_program()
            except SystemExit as end:
                code = int(end.code or 0)
                raise
            finally:
                conduct.codes.append((" ".join(words), code))


if __name__ == "__main__":
    main()
