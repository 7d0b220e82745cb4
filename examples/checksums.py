"""
Checksum every file of Python's standard library, one job a file, and check each result.

Run it with ``python examples/checksums.py``, or name another folder:
``python examples/checksums.py FOLDER``. Four jobs run at a time, each of them
``sha256sum``, or ``shasum -a 256`` where that is missing. What a job wrote is compared
with what hashlib says; any difference, and any job that did not complete, is named and
makes the exit code 1.

Files with names that shells trip over (spaces, quotes, newlines, a leading dash, bytes
that are no text) are checked in every run, in a folder of their own.
"""

import asyncio
import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from queuectl import Job, JobSpec, JobState, QueueEngine

SLOTS = 4

ODD_NAMES = (
    b"two words",
    b"it's",
    b'"quoted"',
    b"two\nlines",
    b"ends with a newline\n",
    b"-n",
    b"$(touch pwned)`touch pwned`",
    b"a;b|c&d>e",
    b"back\\slash",
    b"* ? [a-z] ~ ! #",
    "größe 数 🗂".encode(),
    b"not text \xff\xfe %s",
)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; not what was installed, compiled or linked there."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted({*folders} - {"__pycache__", "dist-packages", "site-packages"})

        for name in sorted(names):
            path = Path(place, name)

            if path.is_file() and not path.is_symlink():
                yield path


def make_odd_files(folder: Path) -> None:
    """Make a file for each odd name that this file system takes."""
    for number, name in enumerate(ODD_NAMES):
        try:
            (folder / os.fsdecode(name)).write_text(f"file {number}\n")
        except OSError:  # macOS refuses names that are not text
            print(f"this file system does not take {name!r}")


def checksum_command(path: Path) -> str:
    """Return the shell command that checksums a file, whatever its name is."""
    program = "sha256sum" if shutil.which("sha256sum") else "shasum -a 256"

    # From stdin: no name can be taken for an option, and none is in the output.
    try:
        return f"{program} < {shlex.quote(os.fsencode(path).decode())}"
    except UnicodeDecodeError:
        # A command is text, so such a name is spelled out byte by byte. The shell
        # cuts newlines off what it substitutes: the slash protects them.
        octal = "".join(f"\\0{byte:03o}" for byte in os.fsencode(path))
        return f"""name=$(printf '%b/' '{octal}'); {program} < "${{name%/}}\""""


async def difference(engine: QueueEngine, job: Job, path: Path) -> str | None:
    """Return what is wrong with a job's result, None where nothing is."""
    if job.state is not JobState.COMPLETED:
        return f"{job.state}, {job.reason}: {await engine.output(job.id)}"

    expected = await asyncio.to_thread(digest, path)
    found = (await engine.output(job.id)).split()

    return None if found == [expected, "-"] else f"expected {expected}, found {found}"


def digest(path: Path) -> str:
    """Return the checksum as hashlib sees it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def check(paths: list[Path], database: Path) -> int:
    """Run a job for every file; return how many results are wrong."""
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB")

    async with QueueEngine(database) as engine:
        jobs = await engine.enqueue_many(
            JobSpec(command=checksum_command(path), max_retries=0) for path in paths
        )
        start = time.perf_counter()
        await engine.drain(SLOTS)
        seconds = time.perf_counter() - start
        print(f"{len(jobs)} jobs through {SLOTS} slots in {seconds:.1f} s")

        wrong = 0

        for path, job in zip(paths, await engine.list(), strict=True):
            if problem := await difference(engine, job, path):
                wrong += 1
                print(f"{os.fsencode(path)!r}: {problem}", file=sys.stderr)

    print(f"{len(paths) - wrong} as hashlib says, {wrong} not")
    return wrong


def main() -> int:
    """Check the folder that was named, else the standard library."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib"))

    with tempfile.TemporaryDirectory() as temporary:
        odd = Path(temporary, "odd")
        odd.mkdir()
        make_odd_files(odd)
        paths = [*files_below(odd), *files_below(folder.absolute())]
        wrong = asyncio.run(check(paths, Path(temporary, "jobs.db")))

    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
