"""An engine that has run many jobs takes as much of its machine as after the first few."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.chaos.soak import EVERY, Report

JOBS: Final = 1500
_ROOT: Final = Path(__file__).parents[2]

# Of 1000 jobs, after 500 to warm up. What is kept of a job is in the database; what grows
# is the memory that Python and SQLite keep for themselves.
MOST_GROWTH_KIB: Final = 2048

# The log is cut at 4 MiB, by the next commit.
LARGEST_WAL: Final = 6 * 1024 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at the process in /proc"),
]


async def soaked(file: Path, jobs: int) -> Report:
    """Let an engine in a process of its own run so many jobs; return what was measured."""
    process = await asyncio.create_subprocess_exec(  # noqa: TID251 (the engine that is measured)
        sys.executable,
        *("-m", "tests.chaos.soak", "--jobs", str(jobs), "--json", str(file)),
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )

    try:
        assert await asyncio.wait_for(process.wait(), 100) == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        raise

    return msgspec.json.decode(file.read_bytes(), type=Report)


async def test_an_engine_takes_no_more_after_1500_jobs_than_after_500(tmp_path: Path) -> None:
    report = await soaked(tmp_path / "figures.json", JOBS)

    samples = report.samples
    assert [sample.jobs for sample in samples] == list(range(EVERY, JOBS + 1, EVERY))
    assert (report.completed, report.dead) == (JOBS * 9 // 10, JOBS // 10)
    assert {sample.descriptors for sample in samples} == {samples[0].descriptors}
    assert {sample.threads for sample in samples} == {samples[0].threads}
    assert {sample.children for sample in samples} == {0}
    assert samples[-1].rss_kib - samples[0].rss_kib <= MOST_GROWTH_KIB, samples
    assert max(sample.wal_bytes for sample in samples) <= LARGEST_WAL
    # A file for each output that is too large for a row; sets of files for slots and for results
    # that wait for their commit, used again and again.
    assert report.output_files == JOBS // 10
    assert report.run_files < 100
