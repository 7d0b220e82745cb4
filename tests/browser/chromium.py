"""Finds a browser for the tests: one of the machine, else playwright's own."""

import shutil
import subprocess  # noqa: TID251 (a browser is asked whether it is one)
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# It talks to nobody but the dashboard, and needs no graphics.
ARGUMENTS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium(own: Path) -> Path:
    """
    Return the browser to test with.

    Args:
        own: Where playwright's own would be.
    """
    for path in [*_of_the_machine(), own]:
        if _runs(path):
            return path

    pytest.fail(
        f"no browser: none of {', '.join(NAMES)} is on the PATH, nor is playwright's own there;"
        " get one with `playwright install chromium`, or as a package of your system"
    )


def _of_the_machine() -> Iterator[Path]:
    for name in NAMES:
        if path := shutil.which(name):
            yield Path(path)


def _runs(path: Path) -> bool:
    """Whether it starts: some systems put a script there that says where to get it."""
    if not path.exists():
        return False

    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
