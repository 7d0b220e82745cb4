"""Numbered migrations of a backend: forward only, never changed once released."""

import re
from pathlib import Path
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
        # Only who migrates needs it, and most open what is up to date.
        import hashlib

        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(module: str) -> tuple[Migration, ...]:
    """
    Return the migrations in the folder ``migrations`` beside a module, in order.

    Args:
        module: Its file.

    Raises:
        ValueError: A number is missing, or stands twice.
    """
    folder = Path(module).with_name("migrations")
    found = sorted(
        (
            Migration(number=int(match[1]), name=match[2], sql=entry.read_text(encoding="utf-8"))
            for entry in folder.iterdir()
            if (match := _FILE.fullmatch(entry.name))
        ),
        key=lambda migration: migration.number,
    )

    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        msg = f"the migrations in {folder} are not numbered 1, 2, 3"
        raise ValueError(msg)

    return tuple(found)
