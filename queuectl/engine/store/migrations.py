"""Numbered migrations of a backend: forward only, never changed once released."""

import hashlib
import re
from importlib.resources import files
from typing import Final

import msgspec

_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """
    One step of the schema.

    Attributes:
        number: From 1, without gaps.
        name: What it does, as words_like_this.
        sql: Its statements.
    """

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What identifies its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(package: str) -> tuple[Migration, ...]:
    """
    Return the migrations in a package's folder ``migrations``, in order.

    Raises:
        ValueError: A number is missing, or stands twice.
    """
    found = sorted(
        (
            Migration(number=int(match[1]), name=match[2], sql=entry.read_text(encoding="utf-8"))
            for entry in files(package).joinpath("migrations").iterdir()
            if (match := _FILE.fullmatch(entry.name))
        ),
        key=lambda migration: migration.number,
    )

    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        msg = f"the migrations of {package} are not numbered 1, 2, 3"
        raise ValueError(msg)

    return tuple(found)
