"""What jobs write: kept as it is, each attempt's its own, small or large."""

import sys
from pathlib import Path

import pytest

from queuectl import JobSpec, JobState, OutputMissingError, QueueEngine, RunNotFoundError
from queuectl.engine.runtime.output_guard import OutputGuard
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES
from tests.factories import make_job
from tests.integration.processes import pid_in
from tests.waiting import wait_until

# Waits for a file named go, and then writes.
LATE = "until [ -e go ]; do sleep 0.01; done; echo late; touch done"


def large_files(db_path: Path) -> list[str]:
    """Name the outputs that are files of their own."""
    return sorted(path.name for path in db_path.parent.glob("queue.db-run/output/*/*"))


async def test_standard_output_and_error_are_kept_in_their_order(engine: QueueEngine) -> None:
    job = await engine.enqueue("echo one; echo two >&2; echo three")

    await engine.drain()

    assert await engine.output(job.id) == "one\ntwo\nthree\n"
    assert (await engine.attempts(job.id))[0].output_bytes == 14


@pytest.mark.parametrize(
    ("size", "files"),
    [(0, 0), (1, 0), (INLINE_OUTPUT_BYTES, 0), (INLINE_OUTPUT_BYTES + 1, 1), (3_000_000, 1)],
)
async def test_small_outputs_are_rows_and_large_ones_files(
    engine: QueueEngine, db_path: Path, tmp_path: Path, size: int, files: int
) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    (tmp_path / "content").write_bytes(content)
    job = await engine.enqueue("cat content", cwd=tmp_path)

    await engine.drain()

    assert await engine.output_bytes(job.id) == content
    assert (await engine.attempts(job.id))[0].output_bytes == size
    assert len(large_files(db_path)) == files


async def test_bytes_that_are_no_text_are_shown_by_their_code(engine: QueueEngine) -> None:
    job = await engine.enqueue("printf 'a\\000\\377\\303\\274'")

    await engine.drain()

    assert await engine.output_bytes(job.id) == b"a\x00\xff\xc3\xbc"
    assert await engine.output(job.id) == "a\x00\\xffü"


@pytest.mark.parametrize("size", [100, 200_000])
async def test_only_the_end_of_an_output_can_be_read(engine: QueueEngine, size: int) -> None:
    job = await engine.enqueue(f"head -c {size} /dev/zero; printf end")

    await engine.drain()

    assert await engine.output_bytes(job.id, last=5) == b"\0\0end"
    assert len(await engine.output_bytes(job.id, last=size * 2)) == size + 3
    assert await engine.output_bytes(job.id, last=0) == b""


@pytest.mark.parametrize("size", [0, 5, 200_000])
async def test_how_much_a_run_has_written_is_known_while_it_runs_and_after(
    engine: QueueEngine, tmp_path: Path, size: int
) -> None:
    command = f"head -c {size} /dev/zero; touch written; until [ -e go ]; do sleep 0.01; done"
    job = await engine.enqueue(command, cwd=tmp_path)
    before = await engine.output_size(job.id)

    async with engine.workers():
        await wait_until((tmp_path / "written").exists)
        during = await engine.output_size(job.id)
        (tmp_path / "go").touch()
        await engine.wait(job.id)

    after = await engine.output_size(job.id, attempt=1)

    assert (before, during, after) == (0, size, size)

    with pytest.raises(RunNotFoundError):
        await engine.output_size(job.id, attempt=2)


@pytest.mark.parametrize("padding", [0, 20_000])
async def test_no_attempt_overwrites_the_output_of_another(
    engine: QueueEngine, padding: int
) -> None:
    command = f"head -c {padding} /dev/zero; echo run $QUEUECTL_ATTEMPT; exit 1"
    await engine.enqueue(command, id="job", max_retries=2, backoff_base=0)

    await engine.drain()
    await engine.retry("job")
    await engine.drain()

    outputs = [await engine.output("job", attempt=number) for number in range(1, 7)]
    assert [text.lstrip("\0") for text in outputs] == [f"run {n}\n" for n in range(1, 7)]
    assert await engine.output("job") == outputs[-1]


async def test_an_attempt_that_never_was_has_no_output(engine: QueueEngine) -> None:
    await engine.enqueue("echo hi", id="job")
    before = await engine.output("job")
    await engine.drain()

    for number in (0, -1, 2):
        with pytest.raises(RunNotFoundError):
            await engine.output("job", attempt=number)

    assert before == ""


async def test_a_large_output_whose_file_is_gone_is_missed_and_not_called_empty(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("head -c 100000 /dev/zero", id="job")
    await engine.drain()
    [file] = db_path.parent.glob("queue.db-run/output/*/*")
    file.unlink()

    with pytest.raises(OutputMissingError, match="job job, attempt 1 is missing"):
        await engine.output("job")

    with pytest.raises(OutputMissingError):
        async for _ in engine.follow("job"):
            pass


async def test_following_an_attempt_that_can_never_be_is_refused(engine: QueueEngine) -> None:
    await engine.enqueue("echo hi", id="job")
    await engine.drain()

    for number in (0, -1, 2):
        with pytest.raises(RunNotFoundError):
            async for _ in engine.follow("job", attempt=number):
                pass


async def test_the_output_so_far_of_a_running_job_can_be_read(
    engine: QueueEngine, tmp_path: Path
) -> None:
    await engine.enqueue(f"echo begun; echo $$ > pid; {LATE}", id="job", cwd=tmp_path)

    async with engine.workers():
        await pid_in(tmp_path / "pid")
        so_far = await engine.output("job")
        end_so_far = await engine.output_bytes("job", last=3)
        (tmp_path / "go").touch()

    assert (so_far, end_so_far) == ("begun\n", b"un\n")
    assert await engine.output("job") == "begun\nlate\n"


async def test_a_file_of_runs_serves_one_job_after_the_other(
    engine: QueueEngine,
) -> None:
    sizes = [5, 40_000, 0, 3, 16_385, 16_384, 7, 100_000, 1]
    jobs = await engine.enqueue_many(
        [
            JobSpec(command=f"head -c {size} /dev/zero | tr '\\0' {index}")
            for index, size in enumerate(sizes)
        ]
    )

    await engine.drain(1)

    outputs = [await engine.output(job.id) for job in jobs]
    assert outputs == [str(index) * size for index, size in enumerate(sizes)]


ESCAPES = {
    "with its files": f"setsid sh -c 'touch begun; {LATE}' &",
    "without its lock": (
        f'{sys.executable} -c "import subprocess as s;'
        f" s.Popen(['sh', '-c', 'touch begun; {LATE}'], start_new_session=True)\";"
    ),
}


@pytest.mark.parametrize("command", ESCAPES.values(), ids=ESCAPES.keys())
@pytest.mark.parametrize("padding", [0, 20_000])
async def test_a_process_that_escaped_does_not_write_into_another_jobs_output(
    engine: QueueEngine, tmp_path: Path, command: str, padding: int
) -> None:
    escaped = "until [ -e begun ]; do sleep 0.01; done"
    command = f"head -c {padding} /dev/zero; {command} {escaped}; echo first"
    waits = "until [ -e done ]; do sleep 0.01; done; echo second"

    async with engine.workers(1):
        first = await engine.enqueue(command, cwd=tmp_path)
        await engine.wait(first.id, timeout=5)
        # The next job runs while the escaped process writes.
        second = await engine.enqueue(waits, cwd=tmp_path)
        (tmp_path / "go").touch()
        await engine.wait(second.id, timeout=5)
        third = await engine.enqueue("echo third")
        await engine.wait(third.id, timeout=5)

    assert (await engine.output(first.id)).lstrip("\0").startswith("first\n")
    assert await engine.output(second.id) == "second\n"
    assert await engine.output(third.id) == "third\n"


async def test_deleting_a_job_removes_its_outputs_and_no_others(
    engine: QueueEngine, db_path: Path
) -> None:
    for name in ("one", "two"):
        await engine.enqueue("head -c 20000 /dev/zero; exit 1", id=name, max_retries=0)
    await engine.drain()
    before = large_files(db_path)

    await engine.delete("one")

    assert before == ["1.1.log", "2.1.log"]
    assert large_files(db_path) == ["2.1.log"]
    assert len(await engine.output("two")) == 20_000


async def test_purging_removes_the_outputs_of_every_run(engine: QueueEngine, db_path: Path) -> None:
    await engine.enqueue("head -c 20000 /dev/zero; exit 1", id="job", max_retries=2, backoff_base=0)
    await engine.enqueue("head -c 20000 /dev/zero", id="kept")
    await engine.drain()
    before = large_files(db_path)

    purged = await engine.purge([JobState.DEAD])

    assert before == ["1.1.log", "1.2.log", "1.3.log", "2.1.log"]
    assert purged == 1
    assert large_files(db_path) == ["2.1.log"]


async def test_an_output_beyond_the_limit_of_a_row_survives_a_new_engine(
    engine: QueueEngine, db_path: Path
) -> None:
    job = await engine.enqueue("seq 10000")
    await engine.drain()

    async with QueueEngine(db_path) as other:
        lines = (await other.output(job.id)).splitlines()

    assert lines == [str(number) for number in range(1, 10_001)]


def test_an_output_that_cannot_be_looked_at_for_a_while_is_limited_all_the_same(
    tmp_path: Path,
) -> None:
    run = Run(make_job(max_output_bytes=3))
    run.files = RunFiles(tmp_path, 1)
    guard = OutputGuard()
    guard.watch(run)

    # Not open yet: the system refuses the look.
    pause = guard._look(0.02)
    assert run.files.open(run.note)
    run.files.write_output(b"more")
    guard._look(pause)
    run.files.close()

    assert run.stop_reason is StopReason.OUTPUT
