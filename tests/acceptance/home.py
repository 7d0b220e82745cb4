"""
A user's home folder with a queue in it: commands, programs that go on, and jobs.

Everything is a process of its own, as at a shell. What they start inherits a mark, by
which a test knows what is left of it, and by which all of it is ended afterwards.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

import queuectl
from tests.waiting import wait_until

PATIENCE: Final = 20.0
_MARK: Final = "ACCEPTANCE_HOME"
_PACKAGE_FOLDER: Final = Path(queuectl.__file__).parents[1]


class Result(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


class Program:
    """A process that goes on; what it writes is kept in files."""

    def __init__(self, process: Process, out: Path, err: Path) -> None:
        self._process = process
        self._out = out
        self._err = err

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text(errors="backslashreplace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="backslashreplace")

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def says(self, text: str) -> None:
        """Return when it has written this to its standard error."""
        await wait_until(lambda: text in self.err or not self.is_running, seconds=PATIENCE)
        assert text in self.err

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Return its exit code, when it has ended by itself."""
        try:
            return await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            raise AssertionError(f"still running: {self.out}{self.err}") from None

    async def kill(self) -> None:
        """End it as a crash would."""
        with suppress(ProcessLookupError):
            self._process.kill()

        await self._process.wait()


class Home:
    """
    Runs ``python -m queuectl`` for a user whose home folder this is.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.database = folder / ".queuectl" / "queue.db"
        self.state = folder / ".queuectl" / "queue.db-run"
        self.environ = {
            **os.environ,
            "HOME": str(folder),
            "PYTHONPATH": str(_PACKAGE_FOLDER),
            _MARK: str(folder),
        }
        self._programs: list[Program] = []

    async def start(self, *words: object, stdin: int = DEVNULL, umask: int = -1) -> Program:
        """Start a queuectl command, and leave it running."""
        return await self.start_python("-m", "queuectl", *words, stdin=stdin, umask=umask)

    async def start_python(
        self, *words: object, stdin: int = DEVNULL, umask: int = -1, session: bool = False
    ) -> Program:
        """Start a Python program, and leave it running."""
        number = len(self._programs)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"

        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = await asyncio.create_subprocess_exec(  # noqa: TID251 (a user's command)
                sys.executable,
                *map(str, words),
                stdin=stdin,
                stdout=out_file,
                stderr=err_file,
                cwd=self.work,
                env=self.environ,
                umask=umask,
                start_new_session=session,
            )

        program = Program(process, out, err)
        self._programs.append(program)
        return program

    async def worker(self, *words: object) -> Program:
        """Start a worker in the foreground; return it when it is there."""
        worker = await self.start("worker", "start", *words)
        await worker.says(" started: pid ")
        return worker

    async def run(self, *words: object, stdin: bytes | None = None, umask: int = -1) -> Result:
        """Run a queuectl command to its end."""
        if stdin is None:
            program = await self.start(*words, umask=umask)
        else:
            file = self.folder / "stdin"
            file.write_bytes(stdin)

            with file.open("rb") as reading:
                program = await self.start(*words, stdin=reading.fileno(), umask=umask)

        code = await program.ended()
        return Result(code, program.out, program.err)

    async def ok(self, *words: object, stdin: bytes | None = None) -> str:
        """Run a command that has to succeed; return what it printed."""
        result = await self.run(*words, stdin=stdin)
        assert result.code == 0, result
        return result.out

    async def json(self, *words: object) -> Any:
        """Run a command that has to succeed; return the JSON that it printed."""
        return msgspec.json.decode(await self.ok(*words, "--json"))

    async def enqueue(self, *jobs: dict[str, object]) -> None:
        """Enqueue jobs, all at once."""
        await self.ok("enqueue", "-q", "-", stdin=msgspec.json.encode(jobs))

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return what ``info`` says of a job."""
        job: dict[str, Any] = await self.json("info", job_id)
        return job

    def file(self, name: str) -> Path:
        """Return a file in the folder that jobs run in."""
        return self.work / name

    def lines(self, name: str) -> list[str]:
        """Return the lines that jobs have written into a file."""
        file = self.file(name)
        return file.read_text().splitlines() if file.exists() else []

    async def has_lines(self, name: str, count: int = 1) -> list[str]:
        """Return the lines that jobs have written, when there are so many."""
        await wait_until(lambda: len(self.lines(name)) >= count, seconds=PATIENCE)
        return self.lines(name)

    def processes(self) -> dict[int, str]:
        """Return what runs of all that was started here: numbers and command lines."""
        return dict(_marked(f"{_MARK}={self.folder}".encode()))

    async def is_quiet(self) -> None:
        """Return when nothing runs of all that was started here."""
        await wait_until(lambda: not self.processes(), seconds=PATIENCE)

    async def close(self) -> None:
        """End what is left, each process by its own number."""
        for program in self._programs:
            await program.kill()

        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

            await asyncio.sleep(0)


def is_running(pid: int) -> bool:
    """Whether a process does anything; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False

    return stat.rpartition(") ")[2][0] not in "ZX"


def _marked(mark: bytes) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue

        # A zombie has neither; one that is not ours does not show its own.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(folder.name), words.decode(errors="backslashreplace")
