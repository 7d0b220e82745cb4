"""Whether there is a database to look into; where there is none, whether there was one."""

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from queuectl.engine.domain.findings import Finding, note, problem
from queuectl.engine.errors import listed, named
from queuectl.engine.runtime.doctor.wording import command, quoted
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.paths import default_database
from queuectl.engine.store.places import EMPTIED, family, when_emptied

_CHECK: Final = "database"


def check_folder(folder: Path) -> Finding | None:
    """Say what there is to do where the folder of the database is missing. Blocking."""
    if folder.is_dir():
        return None

    if folder == default_database().parent and "QUEUECTL_DB" not in os.environ:
        return note(
            _CHECK,
            f"there is no database yet, and no folder for it: {folder}",
            "nothing has to be done: the first command makes both, such as: queuectl status",
        )

    return problem(
        _CHECK,
        f"there is no folder {folder}",
        f"make it: mkdir -p -m 700 {shlex.quote(str(folder))}",
    )


def check_file(path: Path) -> Finding | None:
    """Say what there is in the place of the database where that cannot be opened. Blocking."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _missing(path)

    if not stat.S_ISREG(found.st_mode):
        return problem(
            _CHECK,
            f"not a file: {path}",
            "move it out of the way, or name another file with --db or QUEUECTL_DB",
        )

    return None if found.st_size or not _was_used(path) else _emptied(path)


def _missing(path: Path) -> Finding:
    if not _was_used(path):
        return note(
            _CHECK,
            f"there is no database yet: {path}",
            f"nothing has to be done: the first command makes it, such as:"
            f" {command(path, 'status')}",
        )

    left = family(path)
    return note(
        _CHECK,
        f"there is no database, but what belonged to one:"
        f" {listed([named(str(member)) for member in left])}",
        "stop the workers, and put a backup in the place of all this before a command makes a new"
        f" database; or, to begin anew, remove what is left: rm -r -- {quoted(left)}",
    )


def _emptied(path: Path) -> Finding:
    return problem(
        _CHECK,
        f"{EMPTIED}: {path}",
        when_emptied(path),
    )


def _was_used(path: Path) -> bool:
    """Whether an engine had a database there: the state folder is made when there is one."""
    return os.path.lexists(StateFolder(path).path)
