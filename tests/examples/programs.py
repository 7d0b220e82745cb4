"""Starts programs as a user would: in a session of their own, with a deadline."""

# ruff: noqa: TID251 (whoever tries the examples starts processes)

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# Whose queue it is; what a terminal would be like; and that every start compiles anew.
_NOT_A_USERS = ("QUEUECTL_", "COLUMNS", "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE")


class Ended(NamedTuple):
    """
    A program that has ended.

    Attributes:
        code: Its exit code, negative for a signal, None where it was out of time.
        output: What it wrote to stdout and stderr, as a terminal would show it.
    """

    code: int | None
    output: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """
    Return the environment of a user who has nothing yet but this Python.

    Args:
        home: The user's folder.
        more: Further variables.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_A_USERS)}
    path = os.pathsep.join((str(Path(sys.executable).parent), env.get("PATH", os.defpath)))

    return {**env, "HOME": str(home), "PATH": path, **more}


@contextmanager
def started(
    *argv: str | Path, folder: Path, env: dict[str, str], output: int = subprocess.PIPE
) -> Iterator["subprocess.Popen[bytes]"]:
    """
    Start a program; when the context is left, it and its group are ended.

    Args:
        argv: The program and its arguments.
        folder: Where to run it.
        env: Its environment.
        output: A descriptor for its stdout and stderr, else they are the process's ``stdout``.
    """
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

        process.wait()

        if process.stdout:
            process.stdout.close()


def run(
    *argv: str | Path, folder: Path, env: dict[str, str] | None = None, timeout: float = 30
) -> Ended:
    """
    Run a program to its end, or to its deadline.

    Args:
        argv: The program and its arguments.
        folder: Where to run it.
        env: Its environment, else that of a user whose home is the folder.
        timeout: Seconds until it is ended.
    """
    # Not a pipe: a worker that was detached would keep it open.
    with tempfile.TemporaryFile() as output:
        with started(
            *argv, folder=folder, env=env or environment(folder), output=output.fileno()
        ) as process:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None

        output.seek(0)
        return Ended(code, output.read().decode(errors="backslashreplace"))
