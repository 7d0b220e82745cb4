"""A worker that has run many jobs takes as much of its machine as after the first few."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.chaos.soak import WARM_UP
from tests.chaos.soak_figures import LARGEST_WAL, Flat, Report, Sample, find_flats

JOBS: Final = 1500
_ROOT: Final = Path(__file__).parents[2]

# Of 1000 jobs, after 500 to warm up. What is kept of a job is in the database; what grows
# is the memory that Python and SQLite keep for themselves.
MOST_GROWTH_KIB: Final = 2048

# Rates and latencies are those of a machine that runs other tests, too.
NOISY: Final = {"jobs per second", "pickup under load, ms"}


async def soaked(file: Path, jobs: int) -> Report:
    """Let a worker in a process of its own run so many jobs; return what was measured."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (what is measured)
        sys.executable,
        *("-m", "tests.chaos.soak", "--jobs", str(jobs), "--every", "0.5", "--json", str(file)),
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )

    try:
        # 1: something has grown; which, is in the report.
        assert await asyncio.wait_for(process.wait(), 100) in {0, 1}
    except TimeoutError:
        process.kill()
        await process.wait()
        raise

    return msgspec.json.decode(file.read_bytes(), type=Report)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at the process in /proc")
async def test_an_engine_takes_no_more_after_1500_jobs_than_after_500(tmp_path: Path) -> None:
    report = await soaked(tmp_path / "figures.json", JOBS)

    first, last = report.rested
    assert (report.jobs, first.jobs, last.jobs) == (JOBS, WARM_UP, JOBS + report.probes)
    assert (report.completed, report.dead) == (JOBS * 9 // 10 + report.probes, JOBS // 10)
    assert [flat for flat in report.flat if not flat.is_flat and flat.what not in NOISY] == []
    assert last.descriptors == first.descriptors
    assert last.threads == first.threads
    assert (first.children, last.children) == (0, 0)
    assert last.rss_kib - first.rss_kib <= MOST_GROWTH_KIB, report.rested
    # A file for each output that is too large for a row; sets of three files, used again and
    # again, for no more runs than two commits on a slow disk hold: of one, the slots' and what
    # was claimed ahead for them.
    assert report.output_files == JOBS // 100
    assert report.run_files <= 3 * 2 * (4 + 32)


def sample(**figures: float) -> Sample:
    """Return a moment of a life in which nothing is amiss, but for these figures."""
    usual = Sample(
        jobs=0,
        seconds=0.0,
        jobs_per_second=500.0,
        waiting=600,
        rss_kib=34_000,
        descriptors=26,
        threads=3,
        children=1,
        wal_bytes=1_000_000,
        pickups=5,
        pickup_ms=10.0,
        pickup_worst_ms=20.0,
    )
    return msgspec.structs.replace(usual, **figures)


def not_flat(flats: list[Flat]) -> set[str]:
    return {flat.what for flat in flats if not flat.is_flat}


def test_what_stays_as_it_is_is_flat() -> None:
    samples = [sample() for _ in range(20)]

    assert not_flat(find_flats(samples, [sample(children=0)] * 2)) == set()


@pytest.mark.parametrize(
    ("what", "name", "grows"),
    [
        ("memory, KiB resident", "rss_kib", lambda turn: 34_000 + 200 * turn),
        ("descriptors", "descriptors", lambda turn: 26 + turn),
        ("threads", "threads", lambda turn: 3 + turn // 5),
        ("write-ahead log, bytes", "wal_bytes", lambda turn: LARGEST_WAL * turn // 15),
        ("pickup under load, ms", "pickup_ms", lambda turn: 10.0 + 3 * turn),
        ("jobs per second", "jobs_per_second", lambda turn: 500.0 - 12 * turn),
    ],
)
def test_what_grows_is_named(what: str, name: str, grows: Callable[[int], float]) -> None:
    samples = [sample(**{name: grows(turn)}) for turn in range(20)]

    assert not_flat(find_flats(samples, [sample(children=0)] * 2)) == {what}


def test_what_is_left_behind_at_rest_is_named() -> None:
    before = sample(children=0)
    after = sample(children=1, descriptors=27, threads=4)

    assert not_flat(find_flats([], [before, after])) == {
        "children at rest",
        "descriptors at rest",
        "threads at rest",
    }
