"""The names of what is beside a database, and which of it is there."""

import os
import shlex
from pathlib import Path
from typing import Final

_WAL: Final = "-wal"
_SHM: Final = "-shm"
_GATE: Final = "-checkpoint"
_TURNSTILE: Final = "-turnstile"

# What belongs to the engines that use it; made when there is a database.
_STATE: Final = "-run"

# What SQLite and we call the files beside a database; SQLite removes some of them.
COMPANIONS: Final = (_WAL, _SHM, "-journal", _GATE, _TURNSTILE)

# Of a file that holds nothing, beside a state folder.
EMPTIED: Final = "the database is empty, and its state folder says that it was not"


def wal_file(database: Path) -> Path:
    """Return SQLite's write-ahead log."""
    return _beside(database, _WAL)


def shm_file(database: Path) -> Path:
    """Return SQLite's index of the log."""
    return _beside(database, _SHM)


def gate_file(database: Path) -> Path:
    """Return the file whose lock commits share, and checkpoints and migrations hold alone."""
    return _beside(database, _GATE)


def turnstile_file(database: Path) -> Path:
    """Return the file whose lock commits pass on their way in, and checkpoints keep closed."""
    return _beside(database, _TURNSTILE)


def state_folder(database: Path) -> Path:
    """Return the folder of what belongs to the engines."""
    return _beside(database, _STATE)


def database_of(folder: Path) -> Path | None:
    """Return the database that this is the state folder of, None where it has no such name."""
    database = Path(str(folder).removesuffix(_STATE))
    return None if database == folder else database


def made_by_us(database: Path) -> list[Path]:
    """Return what we make, each for its owner alone; the database is the first."""
    return [database, gate_file(database), turnstile_file(database), state_folder(database)]


def family(database: Path) -> list[Path]:
    """Return what there is of a database, and of what belongs to it; the state folder is last."""
    members = [_beside(database, end) for end in ("", *COMPANIONS, _STATE)]
    return [member for member in members if os.path.lexists(member)]


def when_emptied(database: Path) -> str:
    """Return what to do about a database that is `EMPTIED`."""
    return (
        "stop its workers, and put a backup in the place of all its files; or, to begin anew"
        f" without what was in it: rm -r -- {shlex.join(map(str, family(database)))}"
    )


def _beside(database: Path, end: str) -> Path:
    return database.with_name(database.name + end)
