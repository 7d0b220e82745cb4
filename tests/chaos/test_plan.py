"""A plan follows from its seed, and from nothing else."""

import msgspec
import pytest

from tests.chaos.plan import FaultKind, Plan, Size, make_plan
from tests.chaos.scenarios import SCENARIOS

SIZE = Size(seconds=60.0, jobs=500, kills=100)


def written(plan: Plan) -> bytes:
    return msgspec.json.encode(plan)


def test_a_seed_gives_the_same_plan_each_time() -> None:
    assert written(make_plan(7, SIZE)) == written(make_plan(7, SIZE))


def test_another_seed_gives_another_plan() -> None:
    assert written(make_plan(7, SIZE)) != written(make_plan(8, SIZE))


def test_a_plan_has_the_jobs_and_the_kills_that_were_asked_for() -> None:
    plan = make_plan(7, SIZE)
    kills = {FaultKind.KILL_ENGINE, FaultKind.KILL_ALL_ENGINES}

    assert len(plan.jobs) == 500
    assert sum(fault.kind in kills for fault in plan.faults) == 100


def test_a_plan_has_every_kind_of_fault_but_the_full_disk() -> None:
    kinds = {fault.kind for fault in make_plan(7, SIZE).faults}

    assert kinds == set(FaultKind) - {FaultKind.FILL_DISK}


def test_a_small_disk_is_filled() -> None:
    plan = make_plan(7, msgspec.structs.replace(SIZE, is_disk_small=True))

    assert any(fault.kind is FaultKind.FILL_DISK for fault in plan.faults)


def test_every_kind_of_job_is_in_a_large_plan() -> None:
    from tests.chaos.shapes import SHAPES

    assert {job.kind for job in make_plan(7, SIZE).jobs.values()} == set(SHAPES)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_follows_from_its_seed(name: str) -> None:
    make = SCENARIOS[name].make

    assert written(make(3)) == written(make(3))
    assert written(make(3)) != written(make(4))
