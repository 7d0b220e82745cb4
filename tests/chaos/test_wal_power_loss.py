"""What was acknowledged is there after a power loss, whenever it comes and whatever it tears."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from queuectl import EventKind, JobState, QueueEngine
from queuectl.engine.domain.events import STATE_AFTER
from queuectl.engine.domain.states import TRANSITIONS
from tests.chaos import wal_check
from tests.chaos.faults_vfs import library
from tests.chaos.wal import SMALL_LOG, Tally, live, look_at, scratch
from tests.chaos.wal_cuts import Disk
from tests.chaos.wal_log import Record, Story

SEED = 20_261_122

# Of the cuts, so that a run takes seconds; `python -m tests.chaos.wal --all` tries all.
SHARE = 0.25
SMALL_SHARE = 0.04

pytestmark = [pytest.mark.timeout(90), pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _reachable_sqlite() -> None:
    try:
        library()
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A life with a checkpoint every few commits."""
    return live(tmp_path_factory.mktemp("life"), log_size=SMALL_LOG)


@pytest.fixture
def remains() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


def without_syncs(story: Story, name: str) -> Story:
    """Return a life in which the disk never took the syncs of a file; it was there before."""
    records = list(story.records)
    first_job = next(at for at, record in enumerate(records) if record.kind == "job")

    for at, record in enumerate(records[first_job:], first_job):
        if record.kind == "sync" and record.name == name:
            records[at] = Record("event", "")

    return msgspec.structs.replace(story, records=tuple(records))


def say(tally: Tally) -> str:
    return f"seed {SEED}: {tally}"


def test_nothing_acknowledged_is_lost_by_a_power_loss_at_any_moment(
    life: Story, remains: Path
) -> None:
    tally = look_at(life, remains, seed=SEED, share=SHARE)

    assert tally.bad == 0, say(tally)
    assert tally.cuts >= 1000, say(tally)
    # Not the same few states again and again.
    assert tally.prefixes >= 40, say(tally)


def test_the_power_is_lost_in_the_midst_of_checkpoints_too(life: Story) -> None:
    pages = [at for at, record in enumerate(life.records) if record.name == "queue.db"]
    jobs = [at for at, record in enumerate(life.records) if record.kind == "job"]
    written = [at for at in pages if life.records[at].kind == "write"]
    cut = {cut.at for cut in Disk(life.records, seed=SEED).cuts() if "queue.db:" in cut.how}

    assert len([at for at in written if jobs[0] < at < jobs[-1]]) > 30
    assert len([at for at in cut if jobs[0] < at < jobs[-1]]) > 5


def test_every_state_that_was_shown_was_reached_by_a_legal_way(life: Story) -> None:
    states: dict[int, JobState] = {}

    for _, job, kind, _ in life.events:
        after = STATE_AFTER[EventKind(kind)]
        before = states.get(job)
        is_first = before is None and kind == "enqueued"
        assert is_first or (before is not None and after in TRANSITIONS[before]), (job, kind)
        states[job] = after

    assert len(states) == 58


def test_synchronous_normal_would_lose_acknowledged_jobs_and_is_caught(
    tmp_path: Path, remains: Path
) -> None:
    story = live(tmp_path, synchronous="NORMAL", log_size=SMALL_LOG)
    tally = look_at(story, remains, seed=SEED, share=SMALL_SHARE)

    assert tally.lost > 0, say(tally)
    assert any("lost: acknowledged jobs" in example for example in tally.examples), say(tally)


@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal"])
def test_a_sync_that_the_disk_does_not_take_is_caught(
    name: str, life: Story, remains: Path
) -> None:
    tally = look_at(without_syncs(life, name), remains, seed=SEED, share=SMALL_SHARE)

    assert tally.lost > 0, say(tally)


async def test_an_engine_opens_what_a_power_loss_left_and_goes_on(
    life: Story, remains: Path
) -> None:
    cuts = list(Disk(life.records, seed=SEED).cuts())
    chosen = cuts[:: len(cuts) // 24]
    copies = [wal_check.put(cut, made(remains / f"{n}")) for n, cut in enumerate(chosen)]

    for number, (cut, path) in enumerate(zip(chosen, copies, strict=True)):
        async with QueueEngine(path) as engine:
            report = await engine.check()
            ids = {job.id for job in await engine.list()}
            await engine.enqueue(":", id="afterwards")

            # The whole queue is run down for some; the others would only take longer.
            if number % 6 == 0:
                await engine.drain(2)
                left = {job.state for job in await engine.list()}
                assert left <= {"completed", "dead", "cancelled", "pending"}
                assert (await engine.get("afterwards")).state is JobState.COMPLETED

        assert report.problems == [], (cut.at, cut.how)
        assert cut.jobs <= ids, (cut.at, cut.how)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
