"""
The files of a run: its lock, its exit code, its output.

Making and removing files beside fsync is dear, so a set of three is used again
and again. It is used again only when nobody holds its locks any more, and it
says which run it serves, so that nothing of one run is taken for another's.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from queuectl.engine.runtime.folder import make_private
from queuectl.engine.runtime.locks import (
    close_own,
    is_locked,
    keep_from_forks,
    lift,
    open_private,
    try_lock,
)

_LONGEST_NOTE: Final = 64
# What is written down of an outcome, in bytes.
LONGEST_OUTCOME: Final = 1024
_LOCK_FILE_SIZE: Final = 2 * (_LONGEST_NOTE + 1) + LONGEST_OUTCOME + 1
_EXIT_FILE_SIZE: Final = 2 * _LONGEST_NOTE + 1

# Missing, a link, a folder, a socket, or in a folder that is none.
_NOT_A_FILE: Final = frozenset(
    {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR}
)
_NOTE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})")

# A file of a set: its number, and what it is.
_NAME: Final = re.compile(r"([1-9][0-9]{0,17})\.([a-z]+)")

# What a run's shell writes of itself: the run's note, its own process number, which is not
# that of the system's first process, and what the command exited with.
_WORD: Final = re.compile(
    rf"(?P<note>{_NOTE.pattern}) (?!1(?: |$))(?P<leader>[1-9][0-9]{{0,9}})"
    r"(?: (?P<code>[0-9]{1,10}))?"
)

# What the file for that holds before its first run.
_NO_WORD: Final = b" " * (_EXIT_FILE_SIZE - 1) + b"\n"

# Of what a command exits with, the system keeps the last byte; some shells keep it all.
_EXIT_CODE: Final = 0xFF


class RunFiles:
    """
    One set of files, numbered within its worker's folder.

    The lock is inherited by the run's processes as an extra descriptor, and
    the output's lock as their standard output and error: a process that keeps
    either is known to be there.

    The worker that started the run has the output open with the same lock, until
    the run is recorded. To that worker, then, only the lock file says whether
    somebody else is there; it lets go of that one when the processes have it.
    Whoever adopts the run opens the output without its lock, and both count.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.lock_path: Path = folder / f"{number}.lock"
        self.exit_path: Path = folder / f"{number}.exit"
        self.output_path: Path = folder / f"{number}.log"
        self.lock: int = -1
        self.output: int = -1
        # Whether this process holds the output's lock together with the run's.
        self.has_output_lock: bool = False

    def open(self, note: str) -> bool:
        """
        Take the set for a run.

        The note is written before the old output is cut, so that a reader who
        finds its note unchanged has read its own run's output.

        Returns:
            False where a process of an earlier run still holds it.

        Raises:
            OSError: The files cannot be opened.
        """
        self.lock = keep_from_forks(lift(open_private(self.lock_path)))
        try:
            self.output = keep_from_forks(open_private(self.output_path, os.O_APPEND))

            if try_lock(self.lock) and try_lock(self.output):
                self.has_output_lock = True
                os.pwrite(self.lock, _lines(note), 0)
                os.ftruncate(self.output, 0)
                return True
        except BaseException:
            self.close()
            raise

        self.close()
        return False

    def open_output(self, moved_to: Path) -> bool:
        """
        Open the output alone, to keep what a dead worker's run wrote.

        Args:
            moved_to: Where the worker has put it, if it came that far.

        Returns:
            False where it is in neither place, or nobody may open it any more:
            a run comes to its end without its output too.
        """
        for path in (self.output_path, moved_to):
            descriptor = _open_file(path, os.O_RDWR, also_missing=errno.EACCES)

            if descriptor is not None:
                self.output = keep_from_forks(descriptor)
                return True

        return False

    def written_at(self) -> datetime | None:
        """Return when the shell wrote last, at its begin or its end; None where that is gone."""
        try:
            return datetime.fromtimestamp(os.stat(self.exit_path).st_mtime, UTC)
        except (OSError, OverflowError, ValueError):
            # Or somebody, as the command, has given it a time that there is not.
            return None

    def close(self) -> None:
        """Let go of both files; they stay locked while a process of the run has them."""
        self.close_lock()

        if self.output >= 0:
            close_own(self.output)
            self.output = -1
            self.has_output_lock = False

    def close_lock(self) -> None:
        """Let go of the lock alone, once the run's processes have it."""
        if self.lock >= 0:
            close_own(self.lock)
            self.lock = -1

    def output_size(self) -> int:
        """Return how much was written."""
        return os.fstat(self.output).st_size

    def read_output(self, size: int) -> bytes:
        """Return the first bytes of the output."""
        return os.pread(self.output, size, 0)

    def write_output(self, content: bytes) -> None:
        """Write in a process's place, where there is none."""
        os.write(self.output, content)

    def move_output(self, target: Path) -> None:
        """
        Give the output away; the next run gets a new file. Doing it again does nothing.

        It is on the disk when this returns, before any row refers to it. Blocking.
        """
        make_private(target.parent)
        os.fsync(self.output)

        if self.output_path.exists():
            self.output_path.rename(target)

        folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def cut_output(self, size: int) -> None:
        """Give back the room of what is more than this."""
        if self.output_size() > size:
            os.ftruncate(self.output, size)

    def is_held(self) -> bool:
        """
        Whether a process of the run still has the lock or the output.

        Of a run of our own, whose processes have the lock by now, it is the lock alone.
        """
        return _is_held(self.lock_path) or (not self.has_output_lock and _is_held(self.output_path))

    def identities(self) -> set[tuple[int, int]]:
        """Return device and inode of what the run's processes have open."""
        found = [_found(path) for path in (self.lock_path, self.output_path)]
        # A link in its place would make somebody else's file the run's.
        return {(f.st_dev, f.st_ino) for f in found if f and stat.S_ISREG(f.st_mode)}

    def remove(self) -> None:
        """Remove the set."""
        for path in (self.exit_path, self.output_path, self.lock_path):
            path.unlink(missing_ok=True)

    def note(self) -> str | None:
        """Return the note of the run it serves or served last."""
        return _line(self.lock_path, 0)

    def note_end(self, note: str, why: str = "", outcome: bytes = b"") -> None:
        """
        Write down why a run is being ended, before it is; or how it ended.

        Who ends it may die over that, and nobody else could tell it from a run
        that was lost. The room was taken with the first note: a full disk does
        not keep it out.

        Args:
            note: Says which run.
            why: In one word; empty where it goes on, or has ended.
            outcome: In one line, of `LONGEST_OUTCOME` bytes at the most.

        Raises:
            OSError: It cannot be written.
        """
        descriptor = open_private(self.lock_path)

        try:
            os.pwrite(descriptor, _lines(note, why, outcome), 0)
        finally:
            os.close(descriptor)

    def noted_end(self, note: str) -> str | None:
        """Return why a run was being ended, None where nobody was ending it."""
        return _line(self.lock_path, 1) or None if self.note() == note else None

    def noted_outcome(self, note: str) -> str | None:
        """Return how a run ended that its worker could not record, None where that is not said."""
        return _line(self.lock_path, 2) or None if self.note() == note else None

    def make_exit_file(self) -> None:
        """
        Make the file for the exit code, as long as it will ever be.

        The shell would make it with the job's umask, and not at all where the
        disk is full. The lock is made before it: an exit file without one is a
        sign that somebody has removed files.
        """
        os.close(open_private(self.lock_path))
        descriptor = open_private(self.exit_path)

        try:
            os.pwrite(descriptor, _NO_WORD, 0)
        finally:
            os.close(descriptor)

    def has_whole_exit_file(self) -> bool:
        """Whether the file for the exit code is as the worker made it, or a run's shell left it."""
        return _is_whole(_read(self.exit_path))

    def exit_note(self, note: str) -> "ExitNote | None":
        """Return what a run's shell wrote of itself, None where it did not come to that."""
        content = _read(self.exit_path)
        word = _word(content)

        if word is not None and word["note"] == note:
            code = None if word["code"] is None else int(word["code"]) & _EXIT_CODE
            return ExitNote(leader=int(word["leader"]), code=code)

        # Else the worker made it so, or the shell of an earlier run left it: somebody,
        # as the command, has removed it or written into it since.
        return None if _is_whole(content) else ExitNote(leader=None, code=None)


class ExitNote(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the shell of a run writes down.

    Attributes:
        leader: Its process number, which is its session's and its group's too;
            None where what stands there cannot be that.
        code: The exit code; None until it ends.
    """

    leader: int | None
    code: int | None


class RunFilesPool:
    """
    The sets of one worker.

    Args:
        folder: The worker's own.
        count: Told how many sets there are, whenever that changes.
    """

    def __init__(self, folder: Path, *, count: Callable[[int], None]) -> None:
        self._folder = folder
        self._count = count
        self._free: list[RunFiles] = []
        # The number of the last one that was begun, and how many were finished and not dropped.
        self._last = 0
        self._whole = 0

    def take(self, note: str) -> RunFiles:
        """
        Return a set that is open for a run.

        Raises:
            OSError: The files cannot be opened.
        """
        try:
            return self._take(note)
        except FileNotFoundError:
            # Somebody, as a command, has removed the worker's folder.
            os.makedirs(self._folder, 0o700, exist_ok=True)
            self._free.clear()
            return self._take(note)

    def _take(self, note: str) -> RunFiles:
        while True:
            files = self._free.pop() if self._free else self._make()

            # A set that an escaped process still holds is left to it.
            if files.open(note):
                return files

    def _make(self) -> RunFiles:
        # Also of one that fails: something else may be in its place.
        self._last += 1
        files = RunFiles(self._folder, self._last)
        files.make_exit_file()
        self._whole += 1
        # Before it serves a run: who removes it afterwards is found out.
        self._count(self._whole)
        return files

    def give_back(self, files: RunFiles) -> None:
        """Close a set whose run is recorded, for the next run."""
        files.close()
        self._free.append(files)

    def drop(self, files: RunFiles) -> None:
        """Remove a set whose run is recorded, and that is of no use to another."""
        self._whole -= 1
        self._count(self._whole)
        files.remove()


class FoundRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    A set of files as another process finds it.

    Attributes:
        note: Says which run it serves.
        files: The set, not open.
    """

    note: str
    files: RunFiles

    @property
    def token(self) -> str:
        """The worker that made it."""
        return self.files.lock_path.parent.name

    @property
    def key(self) -> tuple[int, int] | None:
        """Sequence number and run that the note names, None where it names none."""
        found = _NOTE.fullmatch(self.note)
        return None if found is None else (int(found[1]), int(found[2]))


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the sets in a worker's folder; empty where there is none."""
    sets = [RunFiles(folder, number) for number in _numbers(folder, "lock")]
    return [FoundRun(note=note, files=files) for files in sets if (note := files.note())]


def has_gaps(folder: Path, counted: int | None) -> bool:
    """
    Whether somebody has removed, emptied or overwritten files of a set. Blocking.

    Args:
        folder: The worker's.
        counted: How many sets it had made; None where that is not known any more.
    """
    locks, exits = set(_numbers(folder, "lock")), set(_numbers(folder, "exit"))
    whole = sum(RunFiles(folder, number).has_whole_exit_file() for number in locks & exits)
    # One that was being made when the worker died has no exit file yet, and is not counted.
    return counted is None or whole < counted or not exits <= locks


def find_run(workers: Path, note: str, *, token: str) -> FoundRun | None:
    """
    Return the set of a run, wherever it is: an adopted run's stays where it was made.

    Also by what its shell wrote down, where somebody has emptied or replaced its lock
    file: a run that began is not to be taken for one that did not. Blocking.

    Args:
        workers: The folder of all workers' folders.
        note: Says which run.
        token: The worker to begin with.
    """
    folders = [workers / token, *(path for path in workers.iterdir() if path.name != token)]
    found = (run for folder in folders for run in find_runs(folder) if run.note == note)
    return next(found, None) or next(
        (run for folder in folders for run in _begun(folder, note)), None
    )


def _begun(folder: Path, note: str) -> Iterator[FoundRun]:
    """Yield the sets in a folder whose exit file says that this run began, with a lock of sorts."""
    for number in sorted({*_numbers(folder, "exit")} & {*_numbers(folder, "lock")}):
        files = RunFiles(folder, number)
        left = files.exit_note(note)

        if left is not None and left.leader is not None:
            yield FoundRun(note=note, files=files)


def _numbers(folder: Path, kind: str) -> list[int]:
    """Return the numbers of the sets that have a file of this kind."""
    try:
        names = [] if os.path.islink(folder) else os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Something that somebody put among the workers' folders.
        return []

    parts = [found for name in names if (found := _NAME.fullmatch(name))]
    return [int(found[1]) for found in parts if found[2] == kind]


def run_note(seq: int, run: int) -> str:
    """Return what a run's files say: whose they are."""
    return f"{seq} {run}"


def _lines(note: str, why: str = "", outcome: bytes = b"") -> bytes:
    """Return what a lock file holds: whose it is, why that is being ended, how it ended."""
    head = f"{note:<{_LONGEST_NOTE}}\n{why:<{_LONGEST_NOTE}}\n".encode()
    return b"%b%b\n" % (head, outcome.ljust(LONGEST_OUTCOME))


def _is_whole(content: bytes) -> bool:
    """Whether this is an exit file as only a worker, or a shell in one of a worker's, leaves it."""
    is_long = len(content) >= _EXIT_FILE_SIZE
    return is_long and (content == _NO_WORD or _word(content) is not None)


def _word(content: bytes) -> re.Match[str] | None:
    """Return what the shell of a run, of whichever, wrote into an exit file."""
    line, end, _ = content.partition(b"\n")
    return _WORD.fullmatch(line.decode(errors="replace").strip()) if end else None


def _line(path: Path, number: int) -> str | None:
    """Return a line of a small file, None where it is missing, not whole or no file."""
    lines = _read(path).split(b"\n")
    # Behind the last line's end there is one more piece.
    return lines[number].decode(errors="replace").strip() if number < len(lines) - 1 else None


def _read(path: Path) -> bytes:
    """Return what a small file holds; nothing where there is none, or something else."""
    descriptor = _open_file(path, os.O_RDONLY)

    if descriptor is None:
        return b""

    try:
        return os.pread(descriptor, _LOCK_FILE_SIZE, 0)
    finally:
        os.close(descriptor)


def _open_file(path: Path, flags: int, *, also_missing: int | None = None) -> int | None:
    """
    Open what is a file; None where there is none, or something else in its place.

    Args:
        path: The file.
        flags: How to open it.
        also_missing: An error that means the same to the caller.
    """
    try:
        # A pipe that was put there would keep us waiting.
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_A_FILE or error.errno == also_missing:
            return None
        raise

    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor

    os.close(descriptor)
    return None


def _is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file, or nobody may look at it: only proof counts."""
    try:
        return is_locked(path)
    except PermissionError:
        return True
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return False
        raise


def _found(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
