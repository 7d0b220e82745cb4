"""Whether the SQLite library of this Python can be trusted with a queue."""

import sqlite3
from typing import Final

from queuectl.engine.domain.findings import Finding, note, ok, problem
from queuectl.engine.store.sqlite.connection import OLDEST_SQLITE

_CHECK: Final = "sqlite-version"

Version = tuple[int, int, int]

# https://sqlite.org/wal.html#walresetbug
_FIRST_AFFECTED: Final = (3, 7, 0)
_FIRST_FIXED: Final = (3, 51, 3)
_FIXED_IN_BRANCH: Final = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}


def check_library(version: Version = sqlite3.sqlite_version_info[:3]) -> Finding:
    """Say which version there is, and what that means."""
    name = f"SQLite {'.'.join(map(str, version))}"

    if version < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        return problem(
            _CHECK,
            f"{name} is too old",
            f"use a Python whose sqlite3 module has SQLite {oldest} or newer",
        )

    if has_wal_reset_bug(version):
        return note(
            _CHECK,
            f"{name} can lose commits to a checkpoint that races them (3.7.0 to 3.51.2);"
            " queuectl's own checkpoints keep clear of it, those of other programs do not",
            "let no other program write to the database or checkpoint it, such as the sqlite3"
            " shell or Litestream, or use a Python with SQLite 3.51.3 or newer",
        )

    return ok(_CHECK, f"{name} has the repair of the checkpoint that could lose commits")


def has_wal_reset_bug(version: Version) -> bool:
    """Whether a passive checkpoint of this version can lose commits that race it."""
    fixed = _FIXED_IN_BRANCH.get(version[:2], _FIRST_FIXED)
    return _FIRST_AFFECTED <= version < fixed
