"""
What engines that died left behind: folders, pipes, outputs, logs, processes.

It is also asked the other way: which outputs should be there, and are not.

What is there is listed first and the database is asked afterwards, for things
come in the other order; what is then still there, and nobody's, is a leftover.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from queuectl.engine.domain.findings import Finding, counted, in_bytes, note, ok
from queuectl.engine.domain.models import RunKey
from queuectl.engine.errors import listed, named
from queuectl.engine.runtime.doctor.wording import and_again, command, contents, quoted
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import LOCK_NAME
from queuectl.engine.runtime.locks import is_locked
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.run_folder import find_runs
from queuectl.engine.runtime.tree import Listing

_CHECK: Final = "leftovers"
_LONG_GONE: Final = timedelta(days=30)
_OUTPUT: Final = re.compile(r"(\d+)\.(\d+)\.log")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the database says that there should be; and which runs.

    Attributes:
        tokens: Of the registered workers.
        worker_ids: Of the registered workers.
        running: What is under way.
        outputs: Finished, with an output that is a file.
    """

    tokens: frozenset[str]
    worker_ids: frozenset[str]
    running: frozenset[RunKey]
    outputs: frozenset[RunKey]


class StateListing(msgspec.Struct, frozen=True, kw_only=True):
    """
    What there is in a state folder, and of its runs' processes.

    Attributes:
        homes: The folders of workers.
        unread: Pipes that nobody reads, and whatever else is among them.
        outputs: Files of large outputs; None for one whose name says no run.
        logs: What detached workers say.
        processes: Processes with the mark of a run of one of these workers.
    """

    homes: tuple[Path, ...]
    unread: tuple[Path, ...]
    outputs: dict[Path, RunKey | None]
    logs: tuple[Path, ...]
    processes: dict[int, RunKey]


def list_what_is_there(folder: StateFolder) -> StateListing:
    """Look into the state folder, and among the processes. Blocking."""
    homes = tuple(_inside(folder.workers))

    return StateListing(
        homes=homes,
        unread=tuple(path for path in _inside(folder.wake) if not _is_read(path)),
        outputs={
            path: _run_of(path) for shelf in _inside(folder.outputs) for path in _inside(shelf)
        },
        logs=tuple(_inside(folder.logs)),
        processes=_marked({home.name for home in homes}, str(folder.database)),
    )


def judge_leftovers(
    database: Path, seen: StateListing, known: Known, *, now: datetime
) -> list[Finding]:
    """Say what is nobody's of what was seen, and is still there. Blocking."""
    found = [
        *_homes(seen, known),
        *_pipes(database, seen),
        *_outputs(seen, known),
        *_logs(seen, known, now),
        *_processes(database, seen, known),
    ]
    return found or [ok(_CHECK, "dead engines left nothing behind")]


def judge_outputs(folder: StateFolder, seen: StateListing, known: Known) -> list[Finding]:
    """Say which outputs of finished runs are not there any more. Blocking."""
    unseen = sorted(known.outputs.difference(seen.outputs.values()))
    gone = [path for run in unseen if _is_gone(path := folder.output(run))]

    if not gone:
        return []

    return [
        note(
            "outputs",
            f"the files of {counted(len(gone), 'output')} are gone: {_names(gone)}",
            f"put them back from a backup, into {folder.outputs}; without one they are lost, and"
            " what else is known of these runs is not",
        )
    ]


def _homes(seen: StateListing, known: Known) -> Iterator[Finding]:
    lost: list[Path] = []
    held: list[Path] = []

    for home in seen.homes:
        if home.name in known.tokens or not os.path.lexists(home) or home.is_symlink():
            continue

        if not home.is_dir() or not is_locked(home / LOCK_NAME):
            (held if home.is_dir() and _is_in_use(home, known) else lost).append(home)

    if lost:
        yield note(
            _CHECK,
            f"{counted(len(lost), 'folder')} of workers that are not registered: {_names(lost)}",
            f"rm -r -- {quoted(lost)}",
        )

    stray = [home for home in held if not _serves(home, known)]

    if stray:
        yield note(
            _CHECK,
            f"processes still hold files of runs whose workers are not registered: {_names(stray)}",
            f"look who it is, and end it where it is not wanted: fuser -v {contents(stray)}",
        )


def _is_in_use(home: Path, known: Known) -> bool:
    return _serves(home, known) or any(run.files.is_held() for run in find_runs(home))


def _serves(home: Path, known: Known) -> bool:
    """Whether one of the runs that go on has its files here: an adopted run keeps them."""
    notes = {run_note(key) for key in known.running}
    return any(run.note in notes for run in find_runs(home))


def _pipes(database: Path, seen: StateListing) -> Iterator[Finding]:
    unread = [path for path in seen.unread if os.path.lexists(path) and not _is_read(path)]
    pipes = [path for path in unread if _is_pipe(path) and not path.name.startswith(".")]
    others = [path for path in unread if path not in pipes]

    if pipes:
        yield note(
            _CHECK,
            f"{counted(len(pipes), 'wake-up pipe')} that nobody reads: {_names(pipes)}",
            "nothing has to be done: the next change to the queue removes them, such as:"
            f" {command(database, 'enqueue', '--', 'true')}",
        )

    if others:
        yield note(
            _CHECK,
            f"{counted(len(others), 'file')} among the wake-up pipes that are none, or were"
            f" never finished: {_names(others)}",
            f"rm -r -- {quoted(others)}",
        )


def _outputs(seen: StateListing, known: Known) -> Iterator[Finding]:
    kept = known.outputs | known.running
    lost = [path for path, run in seen.outputs.items() if run not in kept and path.exists()]

    if lost:
        yield note(
            _CHECK,
            f"{counted(len(lost), 'output')} ({_total(lost)}) of no run that the database has:"
            f" {_names(lost)}",
            f"rm -- {quoted(lost)}{and_again(lost)}",
        )


def _logs(seen: StateListing, known: Known, now: datetime) -> Iterator[Finding]:
    until = (now - _LONG_GONE).timestamp()
    old = []

    for path in seen.logs:
        try:
            is_old = os.lstat(path).st_mtime < until
        except FileNotFoundError:
            continue

        if is_old and path.stem not in known.worker_ids:
            old.append(path)

    if old:
        yield note(
            _CHECK,
            f"{counted(len(old), 'log')} ({_total(old)}) of workers that ended more than"
            f" {_LONG_GONE.days} days ago: {_names(old)}",
            f"rm -- {quoted(old)}{and_again(old)}",
        )


def _processes(database: Path, seen: StateListing, known: Known) -> Iterator[Finding]:
    tokens = {home.name for home in seen.homes} | known.tokens
    here = _marked(tokens, str(database))
    stray = [
        pid
        for pid, run in seen.processes.items()
        if here.get(pid) == run and run not in known.running
    ]

    if stray:
        pids = ",".join(map(str, sorted(stray)))
        yield note(
            _CHECK,
            f"{counted(len(stray), 'process', 'processes')} of runs that are over: {pids}",
            f"look what it is, and end what is not wanted with kill: ps -fp {pids}",
        )


def _marked(tokens: set[str], database: str) -> dict[int, RunKey]:
    """Return the processes that carry the mark of a run of one of these workers."""
    listing = Listing.now()

    return {
        process.pid: mark.key
        for token in tokens
        for process, mark in listing.marked(token, database).items()
    }


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where it is none, or a link to one."""
    try:
        return [] if folder.is_symlink() else sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _is_read(path: Path) -> bool:
    """Whether a pipe has a reader; opening it to write tells, and does nothing else."""
    if not _is_pipe(path):
        return False

    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        return error.errno != errno.ENXIO

    return True


def _is_gone(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # What may not be looked at may be there.
        return False

    return False


def _run_of(path: Path) -> RunKey | None:
    match = _OUTPUT.fullmatch(path.name)
    return RunKey(int(match[1]), int(match[2])) if match else None


def _total(paths: list[Path]) -> str:
    return in_bytes(sum(os.lstat(path).st_size for path in paths if os.path.lexists(path)))


def _names(paths: list[Path]) -> str:
    return listed([named(path.name) for path in paths])
