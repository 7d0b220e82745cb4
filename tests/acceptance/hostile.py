"""What tests of hostile jobs need: a worker that is measured, and jobs that go on by themselves."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.acceptance.home import PATIENCE, Home, Program
from tests.waiting import wait_until

MEGABYTE: Final = 1024 * 1024

# A worker that gives jobs little time to end, and tells how long its loop was held up at most.
WORK: Final = """
import asyncio, sys
from queuectl import QueueEngine

async def measure(lags):
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(0.01)
        lags.append(loop.time() - began - 0.01)

async def main():
    lags = [0.0]
    async with QueueEngine(kill_grace=0.3) as engine:
        measuring = asyncio.create_task(measure(lags))
        slots = int(sys.argv[1])
        await engine.run(slots, started=lambda name: print(name, flush=True))
        measuring.cancel()
    print(max(lags), flush=True)

asyncio.run(main())
"""

# Where a job finds its own files: by the lock that it inherits.
OWN_FILES: Final = """
import fcntl, os, sys
links = {int(n): os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
         if os.path.islink(f"/proc/self/fd/{n}")}
lock = next(n for n, path in links.items() if path.endswith(".lock"))
stem = links[lock].removesuffix(".lock")
note = " ".join(open(stem + ".lock").read().split()[:2])
"""

# Goes on by itself, in the way that its first word says. Its words tell whose it is.
DAEMON: Final = """
import os, subprocess, sys, time

how = sys.argv[1]
folder = os.path.dirname(__file__)
if how == "popen":
    subprocess.Popen([sys.executable, __file__, "stay", how], start_new_session=True)
    os._exit(0)
if how != "stay":
    if os.fork():
        os._exit(0)
    if how in {"session", "closed"}:
        os.setsid()
    if os.fork():
        os._exit(0)
    if how == "closed":
        os.chdir("/")
        os.closerange(0, 1024)
open(folder + "/began", "a").write("began\\n")
time.sleep(600)
"""

# Two hundred processes that ignore what can be ignored; each starts its dead children again.
RESPAWN: Final = """
import os, signal, time

for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)

def live(depth):
    children = 14 if depth else 0
    for _ in range(children):
        if os.fork() == 0:
            live(depth - 1)
    if depth == 2:
        open("grown", "a").write("grown\\n")
    for _ in range(500):
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(600)
        if os.fork() == 0:
            live(depth - 1)
    os._exit(0)

live(2)
"""


class End(NamedTuple):
    """How a job ended."""

    exit_code: int | None = 0
    signal: str | None = None
    reason: str | None = None

    @property
    def state(self) -> str:
        return "completed" if self.exit_code == 0 else "dead"


def exits(code: int) -> End:
    return End(code, reason=f"exit_code={code}" if code else None)


def killed(name: str) -> End:
    return End(None, name, f"signal={name}")


async def start_worker(home: Home, slots: int = 4) -> Program:
    """Start a worker that gives jobs little time to end."""
    worker = await home.start_python("-c", WORK, slots)
    await wait_until(lambda: "\n" in worker.out or not worker.is_running, seconds=PATIENCE)
    assert worker.is_running, worker.err
    return worker


def named(jobs: dict[str, str], **more: object) -> list[dict[str, object]]:
    return [{"id": name.replace(" ", "-"), "command": jobs[name], **more} for name in jobs]


async def ends(home: Home, names: list[str]) -> dict[str, Any]:
    """Return how jobs ended, when they have; one that has not says in which state it is."""
    await home.run("wait", *(name.replace(" ", "-") for name in names), "--timeout", "15")
    found = {job["id"].replace("-", " "): job for job in await home.json("list")}
    return {
        name: End(found[name]["exit_code"], found[name]["signal"], found[name]["reason"])
        if found[name]["state"] in {"completed", "dead"}
        else found[name]["state"]
        for name in names
    }


def living(home: Home) -> dict[int, str]:
    """Return what runs of all that was started here, without its environment too."""
    found = home.processes()

    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                words = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                places = f"{words} {(folder / 'cwd').readlink()}"

                if str(home.folder) in places and words:
                    found[int(folder.name)] = words

    return found


async def end_all(home: Home) -> None:
    """End what escaped the worker and this test's mark, each process by its own number."""
    while left := living(home):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        await asyncio.sleep(0)


async def assert_works_and_stops(home: Home, worker: Program) -> None:
    """Make sure that the worker runs a job, was never held up, and leaves nothing."""
    await home.enqueue({"id": "after", "command": "echo fine", "priority": 1000})
    await home.ok("wait", "after", "--timeout", "10")
    assert await home.ok("logs", "after") == "fine\n"
    assert list(living(home)) == [worker.pid]
    await home.ok("worker", "stop", "--timeout", "15")
    assert await worker.ended() == 0
    assert living(home) == {}
    assert "Traceback" not in worker.err
    # The machine is shared; a loop that waits for a job would be held up for longer.
    assert float(worker.out.split()[-1]) < 1.0


def peak(worker: Program) -> int:
    """Return how much memory a process had at most, in bytes."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
