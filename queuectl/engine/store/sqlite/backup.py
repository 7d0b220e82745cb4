"""Copies a database while it is in use."""

import os
import sqlite3
from pathlib import Path

from queuectl.engine.descriptors import fsync_folder
from queuectl.engine.errors import StoreDamagedError, StoreError
from queuectl.engine.store.sqlite.connection import name_error


def copy_database(connection: sqlite3.Connection, target: Path) -> None:
    """
    Write the database as it stands to a new file, for its owner alone.

    The copy is on the disk when this returns; what was begun and failed is
    removed. Blocking; for the connection's thread.

    Raises:
        StoreError: The file exists, or cannot be written.
    """
    # SQLite takes an empty file, but would make one for everybody to read.
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StoreError(target, "the file exists", hint="choose a new name") from None
    except OSError as error:
        raise StoreError(target, f"cannot make the file ({error.strerror})") from error

    try:
        connection.execute("VACUUM INTO ?", (str(target),))
        # SQLite leaves that to the system.
        os.fsync(descriptor)
        fsync_folder(target.parent)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        named = name_error(error, target)

        if isinstance(named, StoreDamagedError):
            # What is damaged is what was read; its name is known to the caller.
            raise

        raise named from error
    except OSError as error:
        target.unlink(missing_ok=True)
        raise StoreError(target, f"cannot write the file ({error.strerror})") from error
    finally:
        os.close(descriptor)
