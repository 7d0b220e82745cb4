"""What queuectl needs of the machine: versions, descriptors, a shell, locks that work."""

import importlib.metadata
import os
import platform
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Final

import anyio

from queuectl.engine.domain.findings import Finding, note, ok, problem
from queuectl.engine.domain.models import RunKey
from queuectl.engine.runtime.locks import is_locked
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.process import ShellRunner
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunningProcess, RunRequest
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.wrapper import SHELL

_PACKAGES: Final = ("aiosqlite", "anyio", "msgspec", "typer")

# What an engine has open beside its runs, and for each of them, at the most.
_BASE: Final = 64
_EACH: Final = 4
_FEW: Final = 256

_SECONDS: Final = 10.0
_CODE: Final = 7
# What the tried run is known by, as no job's is.
_NO_RUN: Final = RunKey(0, 0)
_ELSEWHERE: Final = "keep the database on a local disk: name another file with --db or QUEUECTL_DB"


def check_versions() -> Finding:
    """Say what is installed. Blocking."""
    system = os.uname()
    versions = [
        _version("queuectl"),
        f"Python {platform.python_version()}",
        *map(_version, _PACKAGES),
        f"{system.sysname} {system.release}",
    ]
    return ok("versions", ", ".join(versions))


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        # As where a program was frozen into one file.
        return f"{package} of an unknown version"


def check_descriptors(limits: tuple[int, int] | None = None) -> Finding:
    """Say whether a process may open enough files."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)

    if soft in {resource.RLIM_INFINITY, -1}:
        return ok("descriptors", "a process may have any number of open files")

    slots = max(0, (soft - _BASE) // _EACH)
    words = f"a process may have {soft} open files, enough for a worker with {slots} slots"

    if soft >= _FEW:
        return ok("descriptors", words)

    is_allowed = hard in {resource.RLIM_INFINITY, -1} or hard >= _FEW
    advice = (
        f"before starting a worker: ulimit -n {_FEW if hard < 0 else min(hard, 1024)}"
        if is_allowed
        else f"the hard limit is {hard}: let the system's administrator raise it"
        " (LimitNOFILE= of a systemd service, else limits.conf)"
    )
    return (note if slots else problem)("descriptors", words, advice)


async def check_shell_and_locks(folder: Path) -> list[Finding]:
    """
    Run a command in this folder as a job is run, and look at its lock meanwhile.

    What is made for that is removed.

    Args:
        folder: An existing one, on the file system of the database.
    """
    try:
        trial = await in_thread(_Trial, folder)
    except OSError as error:
        return [
            problem(
                "locks",
                f"files, named pipes or locks cannot be made in {folder} ({error.strerror})",
                f"let this user write there (ls -ld {folder} shows who may), or: {_ELSEWHERE}",
            )
        ]

    try:
        return await trial.run()
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(trial.remove)


class _Trial:
    """A run that ends when it is told to, with a folder of its own. Making it blocks."""

    def __init__(self, folder: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
        # Whatever the umask: else it could not be removed.
        self._home.chmod(0o700)
        self._pipe = -1
        self._files = RunFiles(self._home, 0)
        self._is_free = False
        self._is_seen = False

        try:
            os.mkfifo(self._home / "pipe", 0o600)
            # For both, so that neither side waits for the other to open it.
            self._pipe = os.open(self._home / "pipe", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files.make_exit_file()

            self._is_free = self._files.open(run_note(_NO_RUN))
            self._is_seen = is_locked(self._files.lock_path)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove what was made. Blocking."""
        self._files.close()

        if self._pipe >= 0:
            os.close(self._pipe)

        shutil.rmtree(self._home, ignore_errors=True)

    async def run(self) -> list[Finding]:
        """Run a command, and say what was seen."""
        if not self._is_free:
            return self._lock(["is taken before anybody has taken it"])

        try:
            with anyio.CancelScope(shield=True):
                process = await ShellRunner().start(self._request())
        except OSError as error:
            return [_bad_shell(f"{SHELL} cannot be started ({error.strerror})"), *self._lock([])]

        assert process is not None  # noqa: S101 (it was wanted)

        try:
            await in_thread(self._files.close)
            is_inherited = await in_thread(is_locked, self._files.lock_path)
            os.write(self._pipe, b"go\n")
            shell = await _wait(process)
        finally:
            with anyio.CancelScope(shield=True):
                await process.end_group(0.5)

        is_free = not await in_thread(is_locked, self._files.lock_path)
        faults = [
            words
            for is_good, words in (
                (is_inherited, "is not inherited by the processes of a job"),
                (is_free, "is not free when the processes that held it are gone"),
            )
            if not is_good
        ]
        return [shell, *self._lock(faults)]

    def _request(self) -> RunRequest:
        return RunRequest(
            command=f"read word < pipe && exit {_CODE}",
            note=run_note(_NO_RUN),
            mark=Mark.of(self._home.name, _NO_RUN, str(self._home)),
            cwd=str(self._home),
            env={"PATH": os.defpath},
            files=self._files,
            is_wanted=lambda: True,
        )

    def _lock(self, faults: list[str]) -> list[Finding]:
        if not self._is_seen:
            faults = ["is not seen by another that opens the file", *faults]

        place = self._home.parent

        if faults:
            return [problem("locks", f"a file lock in {place} {'; it '.join(faults)}", _ELSEWHERE)]

        return [ok("locks", f"file locks in {place} are seen, inherited and given back")]


async def _wait(process: RunningProcess) -> Finding:
    with anyio.move_on_after(_SECONDS):
        result = await process.wait()

        if result.exit_code == _CODE:
            return ok("shell", f"{SHELL} runs commands, and says how they end")

        ended = result.signal or f"exit code {result.exit_code}"
        return _bad_shell(f"{SHELL} does not do what it is told ({ended}, not {_CODE})")

    return _bad_shell(f"{SHELL} did not end within {_SECONDS:g} seconds")


def _bad_shell(words: str) -> Finding:
    return problem("shell", words, f"make this print {_CODE}: {SHELL} -c 'exit {_CODE}'; echo $?")
