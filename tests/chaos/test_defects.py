"""The harness finds every planted defect, and nothing where none is planted."""

import sys
from pathlib import Path

import pytest

from tests.chaos.checker import Kind
from tests.chaos.defects import DEFECTS
from tests.chaos.harness import Harness
from tests.chaos.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(90),
]

SEED = 1


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_planted_defect_is_found(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]

    figures = await Harness(scenario.make(SEED), tmp_path, defect=name).run()

    found = {Kind(kind) for kind, count in figures.violations.items() if count}
    assert found & scenario.shows
    # A patch that does not fit any more ends the engines, and proves nothing.
    assert Kind.ENGINE_FAILED not in found


@pytest.mark.parametrize("name", DEFECTS)
async def test_nothing_is_found_where_no_defect_is_planted(name: str, tmp_path: Path) -> None:
    figures = await Harness(SCENARIOS[name].make(SEED), tmp_path).run()

    assert figures.found == []
    assert figures.jobs == 24
    assert figures.runs > 0
