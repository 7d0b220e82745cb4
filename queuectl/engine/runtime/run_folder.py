"""The sets of run files in workers' folders: a worker's pool of them, and how a run's is found."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from queuectl.engine.domain.models import RunKey
from queuectl.engine.runtime.notes import noted_key
from queuectl.engine.runtime.runfiles import RunFiles

# A file of a set: its number, and what it is.
_NAME: Final = re.compile(r"([1-9][0-9]{0,17})\.([a-z]+)")


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
    def key(self) -> RunKey | None:
        """The run that the note names, None where it names none."""
        return noted_key(self.note)


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


def find_ended(workers: Path, note: str) -> FoundRun | None:
    """Return the set that a run's exit code is in, where its lock is gone. Blocking."""
    sets = (RunFiles(home, n) for home in workers.iterdir() for n in _numbers(home, "exit"))
    return next((FoundRun(note=note, files=f) for f in sets if f.exit_code(note) is not None), None)


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
