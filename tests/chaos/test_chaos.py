"""A minute of chaos with fixed seeds: nothing is lost, and nothing runs twice."""

import sys
from pathlib import Path

import pytest

from tests.chaos.figures import Figures
from tests.chaos.harness import Harness
from tests.chaos.plan import Size, make_plan
from tests.chaos.smalldisk import can_mount

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(110),
]

EVERYTHING = Size(seconds=18.0, jobs=260, kills=24, slots=5, drain_seconds=40.0)
ALONE = Size(
    seconds=5.0,
    jobs=60,
    kills=12,
    engines=1,
    slots=6,
    drain_seconds=40.0,
    has_operators=False,
)
FULL_DISK = Size(
    seconds=8.0,
    jobs=60,
    kills=4,
    engines=2,
    slots=4,
    is_disk_small=True,
    drain_seconds=40.0,
    has_operators=False,
)


async def run(seed: int, size: Size, folder: Path) -> Figures:
    """Run a plan; say its seed and where everything is, for whoever has to look into it."""
    print(f"seed {seed}, all that is left of it is in {folder}")  # noqa: T201 (shown on failure)
    figures = await Harness(make_plan(seed, size), folder).run()
    print(figures)  # noqa: T201 (shown on failure)
    return figures


def assert_clean(figures: Figures, size: Size) -> None:
    assert figures.found == []
    assert not any(figures.violations.values())
    assert figures.kills >= size.kills
    # Batches of clients that were killed are not all tried again.
    assert size.jobs * 0.8 <= figures.acked + figures.recovered <= size.jobs
    assert figures.runs >= figures.jobs * 0.8


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_and_nothing_runs_twice(seed: int, tmp_path: Path) -> None:
    figures = await run(seed, EVERYTHING, tmp_path)

    assert_clean(figures, EVERYTHING)
    assert figures.adopted > 0
    assert figures.copies > 0
    assert figures.not_done == []


async def test_an_engine_that_is_alone_and_killed_again_and_again_gets_everything_done(
    tmp_path: Path,
) -> None:
    figures = await run(3, ALONE, tmp_path)

    assert_clean(figures, ALONE)


@pytest.mark.skipif(not can_mount(), reason="a small disk cannot be mounted here")
async def test_a_disk_that_is_full_again_and_again_loses_nothing(tmp_path: Path) -> None:
    figures = await run(4, FULL_DISK, tmp_path)

    assert_clean(figures, FULL_DISK)
    assert figures.faults["fill_disk"] >= 3
