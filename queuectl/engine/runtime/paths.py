"""Where a database is, and where we are."""

import os
from pathlib import Path

from queuectl.engine.errors import InvalidJobError, InvalidValueError, named


def default_database() -> Path:
    """Return ``QUEUECTL_DB``, else ``~/.queuectl/queue.db``."""
    path = os.environ.get("QUEUECTL_DB")
    return Path(path).expanduser() if path else Path.home() / ".queuectl" / "queue.db"


def real_path(database: str | os.PathLike[str] | None) -> Path:
    """
    Return where a database really is: everybody must find the same locks beside it.

    Args:
        database: The file; None for the default one.

    Raises:
        InvalidValueError: It has a name that no file has, or is relative to a
            folder that does not exist any more.
    """
    asked = default_database() if database is None else database
    path = Path(asked).expanduser()

    try:
        real = Path(os.path.realpath(path))
    except FileNotFoundError:
        msg = f"{path}: the current folder does not exist any more"
        raise InvalidValueError(msg) from None

    # As "", ".", ".." and "/", and a link to that.
    if path.name in {"", ".."} or not real.name:
        msg = f"{named(os.fspath(asked))}: not the name of a file"
        raise InvalidValueError(msg)

    return real


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
