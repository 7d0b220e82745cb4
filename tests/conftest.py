"""What every test stands on: a scrubbed environment, a guarded event loop, a clock, a store."""

import asyncio
import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from queuectl.engine.store.base import JobStore
from queuectl.engine.store.open import open_store
from queuectl.engine.testing import FakeClock
from tests.factories import NOW

PATIENCE: Final = 15

OpenStore = Callable[[Path], Awaitable[JobStore]]

# The same examples in every run, and none fails because a machine was slow.
settings.register_profile("queuectl", derandomize=True, deadline=None)
settings.load_profile("queuectl")

# What the engine does on the event loop on purpose: calls that take microseconds,
# where a hop through a thread would take a hundred times that.
# File, functions, what they call, reason. A call to SQLite is never in this list.
ALLOWED_ON_THE_LOOP: Final = (
    (
        "store/sqlite/checkpoint.py",
        ("_size",),
        ("os.stat",),
        "after each commit: how long is the log",
    ),
    (
        "store/sqlite/connection.py",
        ("open", "close"),
        ("threading.Lock.acquire",),
        "joins a thread that has said its last word",
    ),
    (
        "runtime/bus.py",
        ("listen", "close", "_names", "_write"),
        ("os.rename", "os.unlink", "os.listdir"),
        "wake-up pipes, one for each listening process",
    ),
    (
        "runtime/run_folder.py",
        ("take",),
        ("os.stat", "os.mkdir"),
        "a worker's folder, where somebody has removed it",
    ),
    (
        "runtime/runfiles.py",
        ("written_at", "open_output", "write_output", "remove", "note_end", "_line"),
        ("os.stat", "os.write", "os.unlink", "io.BufferedReader.read"),
        "small files of one run; a large output is moved, not copied",
    ),
    (
        "runtime/recording.py",
        ("_keep_output",),
        ("os.stat",),
        "was the large output moved already",
    ),
    (
        "runtime/proc.py",
        ("can_list", "processes", "find_process", "uptime"),
        ("os.stat", "os.readlink", "os.listdir", "io.BufferedReader.read"),
        "/proc is memory, and is read only while a group is being ended, or is adopted",
    ),
    (
        "runtime/folder.py",
        ("make_private",),
        ("os.mkdir", "os.stat"),
        "a worker's folder, once in its life",
    ),
    (
        "runtime/liveness.py",
        ("__init__", "_make_and_lock", "remove"),
        (
            "os.mkdir",
            "os.path.samestat",
            "os.rmdir",
            "os.scandir",
            "os.stat",
            "os.unlink",
        ),
        "a worker's folder, once at its start and once at its end",
    ),
    (
        "runtime/liveness.py",
        (
            "_file_identity",
            "_has_lock_open",
            "_is_of_another",
            "boot_id",
            "pid_namespace",
            "has_live_worker",
        ),
        ("os.stat", "os.listdir", "os.scandir", "os.readlink", "io.TextIOWrapper.read"),
        "one lock file for each worker; the machine's boot, once",
    ),
    (
        "runtime/paths.py",
        ("current_folder", "real_path"),
        ("os.getcwd", "os.path.abspath", "os.readlink", "os.stat"),
        "asks the kernel where it is, and once where the database's links lead",
    ),
)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """
    End a test that hangs from inside its event loop.

    pytest-timeout interrupts the loop itself, and then no fixture can be left.
    """
    test = pyfuncitem.obj

    if inspect.iscoroutinefunction(test) and not pyfuncitem.get_closest_marker("timeout"):

        @functools.wraps(test)
        async def test_with_deadline(*args: Any, **kwargs: Any) -> None:
            with anyio.fail_after(PATIENCE):
                await test(*args, **kwargs)

        pyfuncitem.obj = test_with_deadline

    return (yield)


@pytest.fixture(scope="session", autouse=True)
def guarded_loop() -> Iterator[None]:
    """Let a call of the package that blocks the event loop raise BlockingError."""
    with blockbuster_ctx("queuectl") as blockbuster:
        for file, functions, calls, _ in ALLOWED_ON_THE_LOOP:
            for call in calls:
                blockbuster.functions[call].can_block_in(f"queuectl/engine/{file}", functions)

        # Where coverage is measured: its own lock, at the first call into each file.
        acquire = blockbuster.functions["threading.Lock.acquire"]
        acquire.can_block_in("coverage/collector.py", ("lock_data", "unlock_data"))
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio only, as aiosqlite is."""
    return "asyncio"


@pytest.fixture(autouse=True)
def scrubbed_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's queue and settings out of the tests, and the tests out of them."""
    for name in list(os.environ):
        if name.startswith("QUEUECTL_"):
            monkeypatch.delenv(name)

    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves when told to, and begins where the factories do."""
    return FakeClock(NOW)


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Where the database of the test is, or will be."""
    return tmp_path / "queue.db"


@pytest.fixture(params=["sqlite"])
async def opened(clock: FakeClock) -> AsyncIterator[OpenStore]:
    """
    A function that opens a store; what it opened is closed after the test.

    The parameters are the backends; a second one is chosen here by ``request.param``.
    """
    stores: list[JobStore] = []
    closing = asyncio.Event()
    group: asyncio.Future[anyio.abc.TaskGroup] = asyncio.get_running_loop().create_future()

    async def keep_group() -> None:
        async with anyio.create_task_group() as tasks:
            group.set_result(tasks)
            await closing.wait()

    async def open_and_keep(path: Path) -> JobStore:
        store = await open_store(path, await group, now=clock.now())
        stores.append(store)
        return store

    # In a task of its own: a writer that fails would cancel the task around it, and
    # in this one the plugin runs every test.
    keeper = asyncio.create_task(keep_group())
    try:
        yield open_and_keep
    finally:
        try:
            with anyio.fail_after(PATIENCE):
                for store in reversed(stores):
                    await store.close()

                # A writer that its store's close did not stop would hold this up.
                closing.set()
                await keeper
        finally:
            keeper.cancel()


@pytest.fixture
async def store(opened: OpenStore, db_path: Path) -> JobStore:
    """A store with an empty database."""
    return await opened(db_path)
