"""File systems that are gone, or do not answer: a stranger's open files, a job's own folder."""

import asyncio
import subprocess  # noqa: TID251 (a worker in namespaces of its own)
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from queuectl.engine.runtime import proc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts of one's own are Linux's")

# In namespaces of its own a process may mount what it likes. Nobody ever answers this one;
# once its descriptor is closed, every question is an error.
_MOUNT: Final = r"""
import ctypes, os, sys

libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()

def must(result):
    if result:
        sys.exit("no mount: " + os.strerror(ctypes.get_errno()))

def mount_dead(folder):
    NEWUSER, NEWNS, PRIVATE_BELOW = 0x10000000, 0x00020000, 0x40000 | 0x4000
    must(libc.unshare(NEWUSER | NEWNS))
    maps = ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")
    for name, words in maps:
        with open(f"/proc/self/{name}", "w") as file:
            file.write(words)
    must(libc.mount(b"none", b"/", None, PRIVATE_BELOW, None))
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    must(libc.mount(b"dead", folder.encode(), b"fuse", 0, options))
    return fuse
"""
_STRANGER: Final = """
fuse = mount_dead(sys.argv[1])
held = os.open(sys.argv[1], os.O_PATH)
if sys.argv[2] == "gone":
    os.close(fuse)
print(held, flush=True)
sys.stdin.read()
"""

# A worker that has a job there. Another process keeps the mount until it is killed.
_HOST: Final = """
import asyncio, signal, time
from queuectl import QueueEngine

fuse = mount_dead(sys.argv[1])

if not (keeper := os.fork()):
    signal.pause()

os.close(fuse)
longest = 0.0

async def beat():
    global longest
    before = time.monotonic()
    while True:
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now

async def main():
    async with QueueEngine(sys.argv[2], kill_grace=0.3) as engine, engine.workers(2):
        beating = asyncio.create_task(beat())
        await engine.enqueue("sleep 60", id="there", cwd=sys.argv[1], timeout=1, max_retries=0)
        await engine.enqueue("sleep 60", id="here", cwd="/", timeout=1, max_retries=0)
        jobs = await engine.wait_all(["there", "here"], timeout=20)
        beating.cancel()
    print(*[job.reason for job in jobs], longest < 0.8, flush=True)

try:
    asyncio.run(main())
finally:
    os.kill(keeper, signal.SIGKILL)
"""


@pytest.fixture(params=["gone", "silent"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Return a process that has something open on such a mount."""
    (tmp_path / "mount").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _MOUNT + _STRANGER, tmp_path / "mount", request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        if not process.stdout.readline():
            pytest.skip(f"{request.param}: {process.stderr.read()}")

        yield process.pid
        process.stdin.close()


async def test_no_process_keeps_others_from_being_looked_at_by_what_it_has_open(
    stranger: int, tmp_path: Path
) -> None:
    mine = tmp_path.stat()

    async with asyncio.timeout(10):
        was_given = await asyncio.to_thread(
            proc.was_given, stranger, {(mine.st_dev, mine.st_ino + 1_000_000)}
        )

    assert not was_given


def test_a_folder_that_does_not_answer_holds_up_its_own_job_alone(
    db_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "mount").mkdir()
    host = subprocess.run(
        [sys.executable, "-c", _MOUNT + _HOST, tmp_path / "mount", db_path],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    if host.stderr.startswith("no mount"):
        pytest.skip(host.stderr)

    assert host.stdout.split() == ["timeout", "timeout", "True"], host.stderr
