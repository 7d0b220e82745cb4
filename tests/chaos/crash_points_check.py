"""Lets another engine recover from a crash, and says what is wrong afterwards."""

import time
from collections.abc import Sequence
from typing import Final

import anyio
import msgspec

from queuectl import Event, Job, QueueEngine
from tests.chaos.crash_points_place import GRACE, Place
from tests.chaos.crash_points_scenarios import Expected, Scenario
from tests.chaos.heard import all_events, illegal

_DEADLINE: Final = 10.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """
    What there is after recovery.

    Attributes:
        output_bytes: Of each job's last run.
        seconds: What recovery took, from the opening of the engine to a
            settled queue.
    """

    jobs: list[Job]
    events: list[Event]
    output_bytes: dict[str, int]
    damage: list[str]
    seconds: float


async def recover(scenario: Scenario, place: Place) -> Found:
    """Open a fresh engine, let it settle what is there, and look."""
    began = time.monotonic()

    async with QueueEngine(place.database, kill_grace=GRACE) as engine:
        since = await engine.last_event()

        with anyio.fail_after(_DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(scenario.resume, place, engine, since)
                await engine.drain()

        seconds = time.monotonic() - began
        # A dead worker's folder goes when the next worker looks, for a run that goes
        # on has its files there; one that is empty may be about to be filled.
        place.age_leftovers()
        await engine.drain()
        report = await engine.check()
        jobs = await engine.list()
        return Found(
            jobs=jobs,
            events=await all_events(engine),
            output_bytes=await _outputs(engine, jobs),
            damage=report.problems,
            seconds=seconds,
        )


async def _outputs(engine: QueueEngine, jobs: list[Job]) -> dict[str, int]:
    return {job.id: len(await engine.output_bytes(job.id)) for job in jobs}


def problems(scenario: Scenario, place: Place, found: Found) -> list[str]:
    """Return what is wrong; empty where the crash was survived."""
    jobs = {job.id: job for job in found.jobs}
    wrong = [f"damaged: {words}" for words in found.damage]
    wrong += [f"lost: {name}" for name in _promised(place) if name not in jobs]
    wrong += illegal(found.events, found.jobs)
    wrong += [f"left in the folder: {name}" for name in place.leftovers()]
    wrong += [f"still runs: {pid} {line}" for pid, line in place.processes().items()]

    if scenario.all_or_none is not None and len(jobs) not in {0, scenario.all_or_none}:
        wrong.append(f"{len(jobs)} of {scenario.all_or_none} jobs were added")

    if scenario.expected is None:
        wrong += [f"{job.id} is {job.state}" for job in found.jobs if job.state != "completed"]
    elif "job" in jobs:
        wrong += unexpected(scenario.expected, jobs["job"], found.output_bytes["job"])
        wrong += misrun(scenario.expected, place.lines())

    return wrong


def _promised(place: Place) -> list[str]:
    return [name for name in place.acknowledged() if name.startswith("job")]


def unexpected(expected: Expected, job: Job, output_bytes: int) -> list[str]:
    """Say where a job is not as it must be."""
    wrong = []

    if job.state != expected.state or (
        expected.exit_code is not None and job.exit_code != expected.exit_code
    ):
        wrong.append(
            f"the job is {job.state}, exit_code={job.exit_code}, reason={job.reason}; "
            f"expected {expected.state}, exit_code={expected.exit_code}"
        )

    if not _is_within(job.attempts, expected.attempts):
        wrong.append(f"{job.attempts} attempts were charged, expected {expected.attempts}")

    if expected.output_bytes not in {None, output_bytes}:
        wrong.append(f"{output_bytes} bytes of output, expected {expected.output_bytes}")

    return wrong


def misrun(expected: Expected, lines: Sequence[str]) -> list[str]:
    """Say where the runs of a job, by their own words, are not as they must be."""
    begun = sum(line.startswith("S ") for line in lines)
    ended = sum(line.startswith("E ") for line in lines)
    wrong = []

    if not _is_within(ended, expected.ended) or not _is_within(begun, expected.begun):
        wrong.append(
            f"{begun} runs began and {ended} ended, "
            f"expected {expected.begun} and {expected.ended}: {lines}"
        )

    if any(line.startswith("O ") for line in lines):
        wrong.append(f"two runs at once: {lines}")

    # Each end belongs to the run that began last.
    last = ""

    for line in lines:
        word, _, number = line.partition(" ")

        if word == "E" and number != last:
            wrong.append(f"runs overlap: {lines}")

        last = number if word == "S" else last

    return wrong


def _is_within(number: int, limits: tuple[int, int]) -> bool:
    return limits[0] <= number <= limits[1]
