"""Whether the files of a database that is open are still those that its path names."""

import logging
import os
from pathlib import Path

from queuectl.engine.errors import StoreError, StoreReplacedError
from queuectl.engine.store.places import shm_file, wal_file

_log = logging.getLogger(__name__)


class FileIdentity:
    """
    Knows whether a database and its companions are still the files that were opened.

    SQLite goes on reading and writing a file that was deleted or replaced.
    The log and its index are there as long as a connection is open that has
    read anything.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite follows links, and puts its files beside what they lead to.
        real = Path(os.path.realpath(path))
        self._files = [path, wal_file(real), shm_file(real)]
        self._found = self._look()

    def is_lost(self) -> bool:
        """
        Whether one of them is gone, or another has its name.

        Raises:
            OSError: The system refuses the look, which says nothing of the files.
        """
        return self._found is None or self._look() != self._found

    def check(self) -> None:
        """
        Refuse to go on with files that nobody can find.

        Raises:
            StoreReplacedError: The path names another file, or none.
            StoreError: The system refuses the look; it may allow the next.
        """
        try:
            is_lost = self.is_lost()
        except OSError as error:
            raise StoreError(
                self._path,
                f"cannot look for the database's files ({error.strerror})",
                hint="check the permissions of its folder, and the disk",
            ) from error

        if is_lost:
            raise StoreReplacedError(
                self._path,
                "the database, or its -wal or -shm file, was deleted or replaced while it was open",
                hint="what was written since is lost; start again",
            )

    def check_written(self) -> None:
        """
        Refuse to acknowledge what was committed to files that nobody can find.

        A look that the system refuses is no reason: the files were there right before
        the commit, and an error would have the caller do again what is done.

        Raises:
            StoreReplacedError: The path names another file, or none.
        """
        try:
            self.check()
        except StoreReplacedError:
            raise
        except StoreError as error:
            _log.warning("after a commit: %s", error)

    def _look(self) -> list[tuple[int, int]] | None:
        try:
            found = [os.stat(path) for path in self._files]
        except (FileNotFoundError, NotADirectoryError):
            return None

        return [(file.st_dev, file.st_ino) for file in found]
