"""Where a database is, and where we are."""

import os
from pathlib import Path

from queuectl.engine.errors import InvalidJobError, InvalidValueError


def default_database() -> Path:
    """Return ``QUEUECTL_DB``, else ``~/.queuectl/queue.db``."""
    named = os.environ.get("QUEUECTL_DB")
    return Path(named).expanduser() if named else Path.home() / ".queuectl" / "queue.db"


def real_path(path: Path) -> Path:
    """
    Return where a database really is: everybody must find the same locks beside it.

    Raises:
        InvalidValueError: It is relative to a folder that does not exist any more.
    """
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError:
        msg = f"{path}: the current folder does not exist any more"
        raise InvalidValueError(msg) from None


def current_folder() -> str:
    """
    Return the current folder.

    Raises:
        InvalidJobError: It does not exist any more.
    """
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise InvalidJobError(
            "the current folder does not exist any more", field="cwd", hint="name another folder"
        ) from None
