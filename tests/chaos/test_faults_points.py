"""Whatever single operation on the disk fails: nothing acknowledged is lost, nothing runs twice."""

import os
import subprocess  # noqa: TID251 (the program that forks at each point)
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

import queuectl
from tests.chaos.faults import Tally
from tests.chaos.faults_plan import KINDS
from tests.chaos.faults_vfs import library

# Printed with a failure; `python -m tests.chaos.faults --all` tries every operation.
SEED: Final = 7
PATIENCE: Final = 100

pytestmark = [pytest.mark.timeout(PATIENCE + 10), pytest.mark.slow]

_OF_RECOVERY: Final = [kind.name for kind in KINDS if kind.is_recovery]
_OF_SQLITE: Final = [kind.name for kind in KINDS if not kind.is_ours and not kind.is_recovery]
_OF_OURS: Final = [kind.name for kind in KINDS if kind.is_ours and not kind.is_recovery]


class Report(msgspec.Struct):
    """What the program says."""

    stride: int
    seed: int
    kinds: dict[str, Tally]


@pytest.fixture(autouse=True)
def _reachable_sqlite() -> None:
    if sys.platform != "linux":
        pytest.skip("looks at processes in /proc")

    try:
        library()
    except OSError as error:
        pytest.skip(str(error))


def tried(folder: Path, kinds: list[str], *, stride: int, plant: bool = False) -> Report:
    """Let operations fail, every so many-th; return what came of it."""
    file = folder / "report.json"
    words = [sys.executable, "-m", "tests.chaos.faults", "--stride", str(stride)]
    words += ["--seed", str(SEED), "--json", str(file), *(["--plant"] if plant else [])]
    # As many tests run at once as there are processors.
    words += ["--jobs", "1"]
    roots = {str(Path(queuectl.__file__).parents[1]), str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*words, *(word for kind in kinds for word in ("--kind", kind))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert file.exists(), done.stdout + done.stderr
    return msgspec.json.decode(file.read_bytes(), type=Report)


def test_any_operation_of_sqlite_may_fail(tmp_path: Path) -> None:
    report = tried(tmp_path, _OF_SQLITE, stride=48)

    assert {name: tally.troubles for name, tally in report.kinds.items() if tally.troubles} == {}
    assert set(report.kinds) == set(_OF_SQLITE)
    assert all(tally.survived == tally.points > 0 for tally in report.kinds.values())
    assert sum(tally.points for tally in report.kinds.values()) >= 25
    # They were no harmless ones: somebody was told.
    assert sum(tally.refused for tally in report.kinds.values()) >= 8


def test_any_call_of_the_engine_to_the_system_may_fail(tmp_path: Path) -> None:
    report = tried(tmp_path, _OF_OURS, stride=20)

    assert {name: tally.troubles for name, tally in report.kinds.items() if tally.troubles} == {}
    assert set(report.kinds) == set(_OF_OURS)
    assert sum(tally.points for tally in report.kinds.values()) >= 12


def test_any_operation_of_a_worker_that_settles_what_the_dead_left_may_fail(
    tmp_path: Path,
) -> None:
    report = tried(tmp_path, _OF_RECOVERY, stride=120)

    assert {name: tally.troubles for name, tally in report.kinds.items() if tally.troubles} == {}
    assert set(report.kinds) == set(_OF_RECOVERY)
    assert all(tally.survived == tally.points > 0 for tally in report.kinds.values())
    assert sum(tally.points for tally in report.kinds.values()) >= 7


def test_an_engine_that_acknowledges_what_it_did_not_commit_is_caught(tmp_path: Path) -> None:
    report = tried(tmp_path, ["sync error"], stride=24, plant=True)

    wrongs = [wrong for each in report.kinds["sync error"].troubles for wrong in each.wrongs]
    assert [wrong for wrong in wrongs if wrong.startswith("lost: ")], wrongs
