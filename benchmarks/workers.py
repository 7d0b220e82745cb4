"""A worker that lives while something is measured, and what the kernel says about it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bench import CannotRunError, environment, queuectl

_PATIENCE: Final = 30.0
_SHOWN: Final = 300


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a process has taken since its start.

    Attributes:
        cpu: Seconds of processor time of all its threads that live.
        written: Bytes that it caused to be written to a disk.
        wakeups: How often its threads gave up a core by themselves, mostly to wait.
    """

    cpu: float
    written: int
    wakeups: int


@contextmanager
def worker(database: Path, slots: int) -> Iterator[int]:
    """
    Run `queuectl worker start` beside the body; give its process id once it is registered.

    Raises:
        CannotRunError: It did not start, or ended otherwise than it should.
    """
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            queuectl(database, "worker", "start", f"--count={slots}", "--json", "--quiet"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment(),
        )

        try:
            with _closing_output(child) as is_there:
                if is_there:
                    yield child.pid
                    child.terminate()

            code = child.wait(_PATIENCE)
        finally:
            # In vain where it has ended; else the body failed.
            child.kill()
            child.wait()

        if code != 0 or not is_there:
            said.seek(0)
            words = said.read().decode(errors="replace")[-_SHOWN:].strip()
            raise CannotRunError(f"the worker ended with {code}: {words}")


@contextmanager
def _closing_output(child: "subprocess.Popen[bytes]") -> Iterator[bool]:
    """Tell whether it said, in its first line, that it is registered."""
    assert child.stdout is not None  # noqa: S101 (a pipe was asked for)

    with child.stdout as lines:
        yield bool(lines.readline())


def taken_by(pid: int) -> Taken:
    """
    Return what a live process has taken.

    Sources: `/proc/PID/task/*/schedstat`, which counts in nanoseconds and not in ticks, and
    `/proc/PID/io`.
    """
    process = Path(f"/proc/{pid}")
    tasks = list((process / "task").iterdir())
    nanoseconds = sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks)
    return Taken(
        cpu=nanoseconds / 1e9,
        written=_number(process / "io", "write_bytes"),
        wakeups=sum(_number(task / "status", "voluntary_ctxt_switches") for task in tasks),
    )


def _number(path: Path, name: str) -> int:
    lines = path.read_text("ascii", errors="replace").splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1])
