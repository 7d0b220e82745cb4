"""
The files of a run: its lock, its exit code, its output.

Making and removing files beside fsync is dear, so a set of three is used again
and again. It is used again only when nobody holds its locks any more, and it
says which run it serves, so that nothing of one run is taken for another's.
"""

import errno
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from queuectl.engine.descriptors import close_own, fsync_folder, keep_from_forks
from queuectl.engine.runtime import notes
from queuectl.engine.runtime.folder import make_private
from queuectl.engine.runtime.locks import is_locked, lift, open_private, try_lock
from queuectl.engine.runtime.notes import ExitNote

# Missing, a link, a folder, a socket, or in a folder that is none.
_NOT_A_FILE: Final = frozenset(
    {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR}
)


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
                os.pwrite(self.lock, notes.lock_lines(note), 0)
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

        fsync_folder(target.parent)

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
        return self._line(0)

    def note_end(self, note: str, why: str = "", outcome: bytes = b"") -> None:
        """
        Write down why a run is being ended, before it is; or how it ended.

        Who ends it may die over that, and nobody else could tell it from a run
        that was lost. The room was taken with the first note: a full disk does
        not keep it out.

        Args:
            note: Says which run.
            why: In one word; empty where it goes on, or has ended.
            outcome: In one line, of `notes.LONGEST_OUTCOME` bytes at the most.

        Raises:
            OSError: It cannot be written.
        """
        descriptor = open_private(self.lock_path)

        try:
            os.pwrite(descriptor, notes.lock_lines(note, why, outcome), 0)
        finally:
            os.close(descriptor)

    def noted_end(self, note: str) -> str | None:
        """Return why a run was being ended, None where nobody was ending it."""
        return self._line(1) or None if self.note() == note else None

    def noted_outcome(self, note: str) -> str | None:
        """Return how a run ended that its worker could not record, None where that is not said."""
        return self._line(2) or None if self.note() == note else None

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
            os.pwrite(descriptor, notes.NO_WORD, 0)
        finally:
            os.close(descriptor)

    def has_whole_exit_file(self) -> bool:
        """Whether the file for the exit code is as the worker made it, or a run's shell left it."""
        return notes.is_whole_exit(_read(self.exit_path))

    def exit_note(self, note: str) -> ExitNote | None:
        """Return what a run's shell wrote of itself, None where it did not come to that."""
        return notes.exit_note(_read(self.exit_path), note)

    def exit_code(self, note: str) -> int | None:
        """Return the exit code that a run's shell left, None where it left none so far."""
        left = self.exit_note(note)
        return None if left is None else left.code

    def _line(self, number: int) -> str | None:
        """Return a line of the lock file, None where it is missing, not whole or no file."""
        return notes.lock_line(_read(self.lock_path), number)


def _read(path: Path) -> bytes:
    """Return what a small file holds; nothing where there is none, or something else."""
    descriptor = _open_file(path, os.O_RDONLY)

    if descriptor is None:
        return b""

    try:
        return os.pread(descriptor, notes.LOCK_FILE_SIZE, 0)
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
