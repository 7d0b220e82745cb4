"""
Whose the write-ahead log beside a database is.

SQLite finds a log by its name, and plays it into whatever file bears the
database's: https://sqlite.org/howtocorrupt.html, 1.4. So the state folder says
which file the log was begun for, and a file that was put in its place meets no
log of another. Whatever is here is blocking.
"""

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from queuectl.engine.errors import StoreDamagedError
from queuectl.engine.store.places import shm_file, state_folder, wal_file, when_emptied

# In the state folder: the inode of the database.
_NAME: Final = "database"
_LONGEST: Final = 20

# A pipe that was put there would keep us waiting.
_NO_LINK: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOTHING_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


def check_log_left(path: Path) -> None:
    """
    Refuse to make a database beside the log of one that is gone: SQLite would remove the log.

    Raises:
        StoreDamagedError: There is such a log.
    """
    if _log_size(path):
        raise StoreDamagedError(
            path, "the database is gone, and its log is still there", hint=when_emptied(path)
        )


def is_log_of(path: Path) -> bool:
    """
    Whether no log is there that was begun for another file.

    Raises:
        OSError: The system refuses the look.
    """
    return _noted(path) in {None, path.stat().st_ino} or not _log_size(path)


def claim_log(path: Path) -> None:
    """
    Refuse a log that was begun for another file; from here on it is this one's.

    Only by who is alone: else another may be about to say that it is.

    Raises:
        StoreDamagedError: It was.
        OSError: The system refuses the look, or the note.
    """
    if not is_log_of(path):
        raise StoreDamagedError(
            path, "the log beside it is that of another file", hint=_what_to_do(path)
        )

    folder = state_folder(path)

    # What else may be there is refused by who needs it.
    if folder.is_dir() and not folder.is_symlink():
        note_log(path)


def note_log(path: Path) -> None:
    """
    Remember in the state folder for which file a log is begun from here on, where there is one.

    Raises:
        OSError: The system does not let us.
    """
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return

    if _noted(path) != inode:
        with _in_state_folder(path, os.O_WRONLY | os.O_CREAT) as descriptor:
            os.pwrite(descriptor, b"%-*d\n" % (_LONGEST, inode), 0)
            # Before anything is acknowledged: a note of before would refuse the log.
            os.fsync(descriptor)


def _what_to_do(path: Path) -> str:
    log = shlex.join([str(wal_file(path)), str(shm_file(path))])
    note = shlex.quote(str(state_folder(path) / _NAME))
    return (
        "where this file was put in the place of that one, what is in the log is lost:"
        f" rm -f -- {log}; where both were brought here together: rm -- {note}"
    )


def _log_size(path: Path) -> int:
    # Beside what a link leads to, as SQLite has it.
    log = wal_file(Path(os.path.realpath(path)))

    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _noted(path: Path) -> int | None:
    """Return the inode that is noted, None where none is."""
    try:
        with _in_state_folder(path, os.O_RDONLY) as descriptor:
            word = os.pread(descriptor, _LONGEST + 1, 0).strip()
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise

    return int(word) if word.isdigit() else None


@contextmanager
def _in_state_folder(path: Path, flags: int) -> Iterator[int]:
    """Open the note, through no link: somebody may have laid one."""
    folder = os.open(state_folder(path), os.O_RDONLY | _NO_LINK | os.O_DIRECTORY)

    try:
        descriptor = os.open(_NAME, flags | _NO_LINK, 0o600, dir_fd=folder)
    finally:
        os.close(folder)

    try:
        yield descriptor
    finally:
        os.close(descriptor)
