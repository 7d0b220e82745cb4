"""How findings name what they are about: the first few of many, and commands to be typed."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MOST_NAMES: Final = 10


def command(path: Path, *words: str) -> str:
    """Return a command of queuectl for a database."""
    return shlex.join(["queuectl", "--db", str(path), *words])


def quoted(paths: Sequence[Path]) -> str:
    """Return the first few paths as arguments of a command."""
    return shlex.join(map(str, paths[:_MOST_NAMES]))


def contents(folders: Sequence[Path]) -> str:
    """Return everything in the first few folders as arguments of a command."""
    return " ".join(f"{shlex.quote(str(folder))}/*" for folder in folders[:_MOST_NAMES])


def and_again(paths: Sequence[Path]) -> str:
    """Return what is to be done after a command that could not name all of these."""
    return "; then look again" if len(paths) > _MOST_NAMES else ""
