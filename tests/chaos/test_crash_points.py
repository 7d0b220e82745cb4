"""
An engine is killed at some of its steps, spread over the whole life of a job, and recovered.

``python -m tests.chaos.crash_points --all`` walks through every step.
"""

import os
import subprocess  # noqa: TID251 (processes are forked from one that has no other threads)
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.chaos.crash_points import Tally
from tests.chaos.crash_points_check import misrun
from tests.chaos.crash_points_scenarios import SCENARIOS, Expected

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

_ROOT: Final = Path(__file__).parents[2]
_POINTS: Final = 25

_ONCE: Final = Expected(state="completed", ended=(1, 1), begun=(1, 1), attempts=(1, 1))


def walk(name: str, points: int, tmp_path: Path) -> Tally:
    """Walk through about so many points of a scenario, in a process of its own."""
    file = tmp_path / "tally.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos.crash_points", name),
            *("--points", str(points), "--json", str(file), "--jobs", "1"),
        ],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    sys.stdout.write(done.stdout)
    assert file.exists(), done.stderr
    (tally,) = msgspec.json.decode(file.read_bytes(), type=list[Tally])
    assert done.returncode == int(bool(tally.failures))
    return tally


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_any_step_loses_nothing_and_runs_nothing_twice(
    name: str, tmp_path: Path
) -> None:
    tally = walk(name, _POINTS, tmp_path)

    assert tally.failures == []
    # Threads that run at once make a step more or less, so a few may be missed.
    assert tally.survived == tally.points > 0.5 * _POINTS
    assert tally.places > 0.5 * tally.points


def test_the_steps_reach_every_kind_of_effect_that_a_job_has(tmp_path: Path) -> None:
    tally = walk("large-output", 1, tmp_path)

    assert {
        "fcntl.flock",
        "posix.ftruncate",
        "posix.fsync",
        "posix.mkdir",
        "posix.open",
        "posix.pwrite",
        "posix.rename",
        "posix.unlink",
        "posix.wait4",
        "posixsubprocess.fork_exec",
        "sqlite3.execute",
    } <= set(tally.effects)


def test_a_walk_tells_of_a_job_that_is_run_again_though_it_came_to_its_end(
    tmp_path: Path,
) -> None:
    (failure,) = walk("planted-amnesia", 1, tmp_path).failures

    assert "2 runs began and 2 ended" in " ".join(failure.problems)


def test_a_walk_tells_of_an_acknowledged_job_that_is_nowhere(tmp_path: Path) -> None:
    (failure,) = walk("planted-lie", 1, tmp_path).failures

    assert "lost: job-0" in failure.problems


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["S 1"],
        ["S 1", "E 1", "E 1"],
        ["S 1", "E 1", "S 2"],
        ["S 1", "S 2", "E 1"],
        ["O 1", "S 1", "E 1"],
    ],
    ids=" ".join,
)
def test_runs_that_are_missing_doubled_or_overlap_are_told_of(lines: list[str]) -> None:
    assert misrun(_ONCE, lines)


def test_one_run_from_its_beginning_to_its_end_is_right() -> None:
    assert misrun(_ONCE, ["S 1", "E 1"]) == []
