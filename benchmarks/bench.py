"""What the programs share: a folder on a disk, sizes, taking turns, and what a process took."""

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.results import Machine, Row, Sample

MIB: Final = 1024 * 1024

# Of several, the first that is on a disk is taken.
_MEMORY_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs"})
_LOOK_EVERY: Final = 0.01
_SHOWN: Final = 300


class CannotRunError(Exception):
    """A subject cannot be run here; its message says why, in a few words."""


class Bench:
    """
    Where and how large the programs measure.

    Args:
        folder: For everything that they write; on a disk.
        is_quick: Sizes that only show that a program works, not its figures.
    """

    def __init__(self, folder: Path, *, is_quick: bool = False) -> None:
        self.folder: Final = folder
        self.is_quick: Final = is_quick
        # What is dear to make and of use to several programs, by name.
        self.shared: Final[dict[str, Path]] = {}

    @property
    def rounds(self) -> int:
        """How often every subject has its turn."""
        return 2 if self.is_quick else 5

    def size(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.is_quick else full

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Give an empty folder, which is removed again."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))

        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bench_folder() -> Iterator[Path]:
    """Give a new folder on a disk, the place of the temporary ones if that is one."""
    choices = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]  # noqa: S108
    kinds = _file_systems()
    on_disk = [place for place in choices if _kind_of(place, kinds) not in _MEMORY_FILE_SYSTEMS]
    folder = Path(tempfile.mkdtemp(prefix="queuectl-bench-", dir=(on_disk or choices)[0]))
    # A competitor's server that does not run as root has a folder of its own in it.
    folder.chmod(0o711)

    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_systems() -> dict[Path, str]:
    """Return the kind of file system by mount point; empty where the kernel does not tell."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}

    return {Path(words[1]): words[2] for words in (line.split() for line in lines)}


def _kind_of(place: Path, kinds: Mapping[Path, str]) -> str:
    return next((kinds[path] for path in [place, *place.parents] if path in kinds), "")


def alternate(
    subjects: Mapping[str, Callable[[], float]], rounds: int, *, optional: Collection[str] = ()
) -> tuple[dict[str, Sample], dict[str, str]]:
    """
    Let the subjects take turns: A B C, A B C.

    Args:
        subjects: By name; each gives one figure.
        rounds: How many figures of each are wanted.
        optional: Those that may be missing here. One that cannot be run has no further turns.

    Returns:
        The figures by name, and why a subject has none.

    Raises:
        CannotRunError: One that is not optional cannot be run.
    """
    samples = {name: Sample([]) for name in subjects}
    skipped: dict[str, str] = {}

    for number in range(rounds):
        for name, take in subjects.items():
            if name in skipped:
                continue

            # Nobody pays for what the one before has left to be written.
            os.sync()

            try:
                figure = take()
            except CannotRunError as error:
                if name not in optional:
                    raise

                skipped[name] = str(error)
                samples[name] = Sample([])
                say(f"  {name}: skipped: {error}")
            else:
                samples[name].values.append(figure)
                say(f"  {number + 1}/{rounds} {name}: {figure:,.3g}")

    return samples, skipped


def ratio(sample: Sample, yardstick: Sample) -> float | None:
    """Return the median of the ratios of figures that were taken side by side; None for none."""
    pairs = zip(sample.values, yardstick.values, strict=False)
    ratios = [figure / other for figure, other in pairs if other]
    return statistics.median(ratios) if ratios else None


def rows(
    samples: Mapping[str, Sample],
    skipped: Mapping[str, str],
    *,
    unit: str,
    yardstick: str = "",
    lacks: Mapping[str, str] | None = None,
) -> list[Row]:
    """Make a table of what `alternate` returned; with a yardstick, a subject's name, ratios."""
    return [
        Row(
            subject=name,
            unit=unit,
            sample=sample,
            ratio=ratio(sample, samples[yardstick]) if yardstick else None,
            lacks=(lacks or {}).get(name, ""),
            skipped=skipped.get(name, ""),
        )
        for name, sample in samples.items()
    ]


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a process took that ended well.

    Attributes:
        seconds: From its start to its end.
        user: Seconds of processor time, with the children that it waited for.
        system: The same, in the kernel.
        peak_mib: The most memory that was resident, without children; 0 if not watched.
        stdout: What it wrote.
    """

    seconds: float
    user: float
    system: float
    peak_mib: float
    stdout: str


def run_command(
    argv: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Path | None = None,
    timeout: float = 60.0,
    watch_memory: bool = False,
) -> Finished:
    """
    Run a program to its end.

    Args:
        argv: The program and its arguments.
        environ: What is added to the environment.
        cwd: Where; else here.
        stdin: A file to read; else nothing.
        timeout: Seconds until it is killed, which is an error.
        watch_memory: Whether to look at its memory all the time.

    Raises:
        CannotRunError: It is not there, failed, or took too long.
    """
    with (
        Path(stdin or os.devnull).open("rb") as source,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        begun = time.perf_counter()

        try:
            child = subprocess.Popen(
                argv, stdin=source, stdout=output, stderr=errors, cwd=cwd, env=environment(environ)
            )
        except OSError as error:
            raise CannotRunError(f"{argv[0]}: {error.strerror}") from error

        peak = [0.0]
        ended = threading.Event()
        watch = threading.Thread(target=_watch_memory, args=(child.pid, peak, ended))
        alarm = threading.Timer(timeout, child.kill)
        alarm.start()

        if watch_memory:
            watch.start()

        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        alarm.cancel()
        ended.set()

        if watch_memory:
            watch.join()

        if child.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-_SHOWN:].strip()
            raise CannotRunError(f"{Path(argv[0]).name} ended with {child.returncode}: {said}")

        output.seek(0)
        return Finished(
            seconds=seconds,
            user=usage.ru_utime,
            system=usage.ru_stime,
            peak_mib=peak[0],
            stdout=output.read().decode(errors="replace"),
        )


def _watch_memory(pid: int, peak: list[float], ended: threading.Event) -> None:
    """
    Keep the high-water mark of a process until it ends.

    It only rises, so that nothing is missed but what comes in its last moment. The
    kernel's own figure, `ru_maxrss`, begins with the size of whoever started it.
    """
    while not ended.wait(_LOOK_EVERY):
        peak[0] = max(peak[0], high_water(pid))


def high_water(pid: int) -> float:
    """Return the most memory that a live process had resident, in MiB; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0

    marks = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else 0.0


def environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a process, without what would make it slower or differ."""
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "QUEUECTL_DB", "QUEUECTL_RUN"}
    return {
        **{name: value for name, value in os.environ.items() if name not in left_out},
        **(added or {}),
    }


def queuectl(database: Path, *words: str) -> list[str]:
    """Return the words that run the program as its users do."""
    program = Path(sys.executable).with_name("queuectl")
    return [str(program), f"--db={database}", *words]


def child_script(name: str, *words: str) -> list[str]:
    """
    Return the words that run a file of this folder in a process of its own.

    -P: it finds what is installed, and not the files beside it.
    """
    return [sys.executable, "-P", str(Path(__file__).parent / name), *words]


def median(figures: Sequence[float]) -> float:
    """Return the middle figure."""
    return statistics.median(figures)


def quantile(figures: Sequence[float], share: float) -> float:
    """Return the figure below which this share of all lies, 0 to 1."""
    ordered = sorted(figures)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def machine() -> Machine:
    """Describe this machine and what is measured on it."""
    from importlib.metadata import version

    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        queuectl=version("queuectl"),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()

    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
