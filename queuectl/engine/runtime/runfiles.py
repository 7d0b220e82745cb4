"""
The files of a run: its lock, its exit code, its output.

Making and removing files beside fsync is dear, so a set of three is used again
and again. It is used again only when nobody holds its locks any more, and it
says which run it serves, so that nothing of one run is taken for another's.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from queuectl.engine.runtime.locks import is_locked, lift, open_private, try_lock

_LONGEST_NOTE: Final = 64


class RunFiles:
    """
    One set of files, numbered within its worker's folder.

    The lock is inherited by the run's processes as an extra descriptor, and
    the output's lock as their standard output and error: a process that keeps
    either is known to be there.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.lock_path: Path = folder / f"{number}.lock"
        self.exit_path: Path = folder / f"{number}.exit"
        self.output_path: Path = folder / f"{number}.log"
        self.lock: int = -1
        self.output: int = -1

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
        self.lock = lift(open_private(self.lock_path))
        try:
            self.output = open_private(self.output_path, os.O_APPEND)

            if try_lock(self.lock) and try_lock(self.output):
                os.pwrite(self.lock, note.ljust(_LONGEST_NOTE).encode() + b"\n", 0)
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
            False where it is in neither place.
        """
        for path in (self.output_path, moved_to):
            try:
                self.output = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue

            return True

        return False

    def ended_at(self) -> datetime:
        """Return when the exit code was written."""
        return datetime.fromtimestamp(os.stat(self.exit_path).st_mtime, UTC)

    def close(self) -> None:
        """Let go of both files; they stay locked while a process of the run has them."""
        self.close_lock()

        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def close_lock(self) -> None:
        """Let go of the lock alone, once the run's processes have it."""
        if self.lock >= 0:
            os.close(self.lock)
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
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.fsync(self.output)

        if self.output_path.exists():
            self.output_path.rename(target)

        folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def is_held(self) -> bool:
        """Whether a process still has the lock or the output."""
        return is_locked(self.lock_path) or is_locked(self.output_path)

    def note(self) -> str | None:
        """Return the note of the run it serves or served last."""
        return _first_line(self.lock_path)

    def make_exit_file(self) -> None:
        """
        Make the file for the exit code, as long as it will ever be.

        The shell would make it with the job's umask, and not at all where the
        disk is full.
        """
        descriptor = open_private(self.exit_path)

        try:
            os.pwrite(descriptor, b" " * (2 * _LONGEST_NOTE) + b"\n", 0)
        finally:
            os.close(descriptor)

    def has_begun(self, note: str) -> bool:
        """Whether the shell of a run came to its command."""
        line = _first_line(self.exit_path) or ""
        return line == note or line.startswith(f"{note} ")

    def exit_code(self, note: str) -> int | None:
        """Return the exit code that a run left, None where it left none."""
        line = _first_line(self.exit_path)

        if line is None or not line.startswith(f"{note} "):
            return None

        code = line.removeprefix(f"{note} ")
        return int(code) if code.isdigit() else None


class RunFilesPool:
    """
    The sets of one worker.

    Args:
        folder: The worker's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: list[RunFiles] = []
        self._made = 0

    def take(self, note: str) -> RunFiles:
        """
        Return a set that is open for a run.

        Raises:
            OSError: The files cannot be opened.
        """
        while True:
            files = self._free.pop() if self._free else self._make()

            # A set that an escaped process still holds is left to it.
            if files.open(note):
                return files

    def _make(self) -> RunFiles:
        self._made += 1
        files = RunFiles(self._folder, self._made)
        files.make_exit_file()
        return files

    def give_back(self, files: RunFiles) -> None:
        """Close a set whose run is recorded, for the next run."""
        files.close()
        self._free.append(files)


class FoundRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    A set of files as another process finds it.

    Attributes:
        note: Says which run it serves.
        files: The set, not open.
    """

    note: str
    files: RunFiles


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the sets in a worker's folder; empty where there is none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []

    found = []

    for name in names:
        number, _, kind = name.partition(".")

        if kind == "lock" and number.isdigit():
            files = RunFiles(folder, int(number))
            note = files.note()

            if note:
                found.append(FoundRun(note=note, files=files))

    return found


def run_note(seq: int, run: int) -> str:
    """Return what a run's files say: whose they are."""
    return f"{seq} {run}"


def _first_line(path: Path) -> str | None:
    """Return the first line of a small file, None where it is missing or not whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None

    try:
        text = os.pread(descriptor, 4 * _LONGEST_NOTE, 0)
    finally:
        os.close(descriptor)

    line, end, _ = text.partition(b"\n")
    return line.decode(errors="replace").strip() if end else None
