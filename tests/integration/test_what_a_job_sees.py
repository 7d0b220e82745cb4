"""What a command finds around it, and what is measured of it."""

import os
import resource
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl import JobSpec, JobState, QueueEngine


async def output_of(engine: QueueEngine, command: str, **env: str) -> str:
    """Run a command, and return what it wrote."""
    (job,) = await engine.enqueue_many([JobSpec(command=command, env=env)])
    await engine.drain()
    assert (await engine.get(job.id)).state is JobState.COMPLETED
    return await engine.output(job.id)


async def test_it_runs_where_it_was_enqueued(
    engine: QueueEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)

    job = await engine.enqueue("pwd")
    monkeypatch.chdir("/")
    await engine.drain()

    assert job.cwd == str(folder)
    assert await engine.output(job.id) == f"{folder}\n"


async def test_its_folder_can_be_named(engine: QueueEngine, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()

    job = await engine.enqueue("pwd", cwd=tmp_path / "deep")
    await engine.drain()

    assert await engine.output(job.id) == f"{tmp_path}/deep\n"


async def test_it_knows_its_id_its_attempt_and_its_retries(engine: QueueEngine) -> None:
    command = 'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $QUEUECTL_MAX_RETRIES"; exit 1'
    await engine.enqueue(command, id="job-7", max_retries=2, backoff_base=0)

    await engine.drain()

    outputs = [await engine.output("job-7", attempt=number) for number in (1, 2, 3)]
    assert outputs == ["job-7 1 2\n", "job-7 2 2\n", "job-7 3 2\n"]


@pytest.mark.parametrize("command", ["env", "eval env"])
async def test_its_environment_is_the_workers_and_its_own_and_no_more(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("QUEUECTL_DB", "/somewhere.db")
    monkeypatch.setenv("QUEUECTL_COMMAND", "secret")
    monkeypatch.setenv("FROM_WORKER", "worker")
    monkeypatch.setenv("FROM_BOTH", "worker")

    lines = (await output_of(engine, command, FROM_BOTH="job", EMPTY="")).splitlines()

    names = {line.partition("=")[0] for line in lines}
    assert {"FROM_WORKER=worker", "FROM_BOTH=job", "EMPTY="} <= set(lines)
    # A command that calls queuectl means the queue that it is in.
    assert f"QUEUECTL_DB={engine.database}" in lines
    assert {name for name in names if name.startswith("QUEUECTL_")} == {
        "QUEUECTL_DB",
        "QUEUECTL_JOB_ID",
        "QUEUECTL_ATTEMPT",
        "QUEUECTL_MAX_RETRIES",
        "QUEUECTL_RUN",
    }
    # The shell sets these by itself.
    assert names <= {*os.environ, "FROM_BOTH", "EMPTY", "PWD", "OLDPWD", "SHLVL", "_"} | {
        name for name in names if name.startswith("QUEUECTL_")
    }


@pytest.mark.parametrize("prefix", ["", "eval :; "])
async def test_each_run_has_a_mark_of_its_own_that_names_worker_job_and_run(
    engine: QueueEngine, prefix: str
) -> None:
    command = f"{prefix}echo $QUEUECTL_RUN; test $QUEUECTL_ATTEMPT = 2"
    first = await engine.enqueue(command, backoff_base=0)
    second = await engine.enqueue(f"{prefix}sh -c 'echo $QUEUECTL_RUN'")

    async with engine.workers():
        [worker] = await engine._store.workers()
        await engine.wait_all([first.id, second.id], timeout=10)

    marks = [
        (await engine.output(first.id, attempt=1)).strip(),
        (await engine.output(first.id, attempt=2)).strip(),
        (await engine.output(second.id)).strip(),
    ]
    assert marks == [
        f"{worker.token}.{first.seq}.1:{engine.database}",
        f"{worker.token}.{first.seq}.2:{engine.database}",
        f"{worker.token}.{second.seq}.1:{engine.database}",
    ]


async def test_a_job_that_is_told_a_mark_has_its_own_all_the_same(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_RUN", "outer.1.1")

    mark = (await output_of(engine, "echo $QUEUECTL_RUN")).strip()

    assert mark != "outer.1.1"
    assert mark.endswith(f".1.1:{engine.database}")


async def test_what_a_worker_started_as_a_job_is_told_is_not_what_its_jobs_are_told(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_JOB_ID", "outer")
    monkeypatch.setenv("QUEUECTL_ATTEMPT", "99")

    assert await output_of(engine, "echo $QUEUECTL_ATTEMPT") == "1\n"


@pytest.mark.parametrize("command", ["umask", "eval umask"])
async def test_its_umask_is_the_workers(engine: QueueEngine, command: str) -> None:
    before = os.umask(0o027)

    try:
        assert await output_of(engine, command) == "0027\n"
    finally:
        os.umask(before)


@pytest.mark.parametrize("prefix", ["", "eval :; "])
async def test_it_has_its_three_streams_and_its_lock_and_no_other_file(
    engine: QueueEngine, prefix: str
) -> None:
    command = f"{prefix}find /proc/$$/fd -type l -printf '%f %l\\n'; exit 0"

    with Path("/dev/null").open() as inheritable:
        os.set_inheritable(inheritable.fileno(), True)
        lines = (await output_of(engine, command)).splitlines()

    files = [line.split() for line in sorted(lines, key=lambda line: int(line.split()[0]))]
    kinds = [Path(target).suffix for _, target in files]
    assert [number for number, _ in files[:3]] == ["0", "1", "2"]
    assert files[0][1] == "/dev/null"
    assert files[1][1] == files[2][1]
    assert kinds[1:] == [".log", ".log", ".lock"]


async def test_it_has_a_session_of_its_own_and_no_terminal(engine: QueueEngine) -> None:
    command = "echo $$ $(cut -d' ' -f5-7 /proc/$$/stat); sh -c ': </dev/tty' 2>&- || echo none"

    numbers, terminal = (await output_of(engine, command)).splitlines()

    pid, group, session, tty = numbers.split()
    assert pid == group == session
    assert (tty, terminal) == ("0", "none")


async def test_it_reads_nothing(engine: QueueEngine) -> None:
    assert await output_of(engine, "cat; read line || echo end") == "end\n"


async def test_no_signal_is_blocked_or_ignored(engine: QueueEngine) -> None:
    lines = (await output_of(engine, "grep -E 'Sig(Blk|Ign)' /proc/self/status")).splitlines()

    # Those from 32 on are the C library's own.
    masks = {name: int(mask, 16) % 2**31 for name, mask in (line.split() for line in lines)}
    assert masks == {"SigBlk:": 0, "SigIgn:": 0}


async def test_its_processor_time_is_measured(engine: QueueEngine) -> None:
    busy = await engine.enqueue("i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; exit 0")
    in_child = await engine.enqueue("sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; :")
    idle = await engine.enqueue("sleep 0.1")

    await engine.drain(1)

    used = [(await engine.attempts(job.id))[0] for job in (busy, in_child, idle)]
    assert all(run.cpu is not None and run.duration is not None for run in used)
    busy_cpu, child_cpu, idle_cpu = (run.cpu or timedelta() for run in used)
    assert timedelta(milliseconds=50) < busy_cpu <= (used[0].duration or timedelta()) * 1.5
    assert child_cpu > timedelta(milliseconds=30)
    assert idle_cpu < timedelta(milliseconds=50)


async def test_its_memory_is_measured_where_it_is_more_than_the_engines_own(
    engine: QueueEngine,
) -> None:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = max(150_000_000, own + 50_000_000)
    large = await engine.enqueue(f"{sys.executable} -c \"len(b'x' * {size})\"")
    small = await engine.enqueue("true")

    await engine.drain(1)

    (large_run,) = await engine.attempts(large.id)
    (small_run,) = await engine.attempts(small.id)
    assert large_run.max_rss_bytes is not None
    assert size <= large_run.max_rss_bytes < size + 100_000_000
    assert small_run.max_rss_bytes is None


async def test_the_files_beside_the_database_are_for_their_owner_alone(
    engine: QueueEngine, db_path: Path
) -> None:
    before = os.umask(0)

    try:
        await output_of(engine, "head -c 100000 /dev/zero")
        async with engine.workers():
            job = await engine.enqueue("true")
            await engine.wait(job.id, timeout=5)
            paths = [path for path in db_path.parent.rglob("*") if path.name != ".keep"]
            modes = {path: path.lstat().st_mode & 0o077 for path in paths}
    finally:
        os.umask(before)

    assert {str(path) for path, mode in modes.items() if mode} == set()
