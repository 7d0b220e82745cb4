"""Processes of a chaos run, found by the mark in their environment."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from tests.chaos.shapes import MARK_VARIABLE

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """
    A process that carries the mark.

    Attributes:
        job: The job that it belongs to, empty for none.
        attempt: The run of the job, 0 for none.
    """

    pid: int
    session: int
    job: str
    attempt: int
    words: str


def marked(mark: str) -> Iterator[Found]:
    """Yield the living processes that carry a mark."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()

    for pid in _pids():
        # A zombie has no environment; neither has one that has just ended.
        with suppress(*_GONE):
            folder = Path(f"/proc/{pid}")
            variables = (folder / "environ").read_bytes().split(b"\0")

            if wanted in variables:
                named = dict(v.partition(b"=")[::2] for v in variables)
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield Found(
                    pid=pid,
                    session=_stat(pid)[3],
                    job=named.get(b"QUEUECTL_JOB_ID", b"").decode(),
                    attempt=int(named.get(b"QUEUECTL_ATTEMPT", b"0")),
                    words=words.decode(errors="backslashreplace")[:200],
                )


def sessions(pids: set[int]) -> Iterator[int]:
    """Yield the members of the sessions that these processes lead."""
    for pid in _pids():
        with suppress(*_GONE):
            if _stat(pid)[3] in pids:
                yield pid


def zombies_of(parents: set[int]) -> Iterator[str]:
    """Yield the dead children that these processes did not reap."""
    for pid in _pids():
        with suppress(*_GONE):
            state, parent, *_ = _stat(pid)

            if state == ord("Z") and parent in parents:
                yield f"{pid} of {parent}"


def end_marked(mark: str) -> None:
    """End what carries a mark; each by its own number."""
    while found := list(marked(mark)):
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    return (int(found.name) for found in Path("/proc").iterdir() if found.name.isdigit())


def _stat(pid: int) -> list[int]:
    """Return the state, the parent, the group and the session of a process."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    state, *numbers = text.rpartition(") ")[2].split()[:4]
    return [ord(state), *map(int, numbers)]
