"""
Starts shells with asyncio, and does nothing else: `bare_child.py JOBS SLOTS`.

It prints `seconds`, and the processor time of this process without its children's, `user`
and `system`, as JSON. What is left of the distance between queuectl and `xargs` when this
is taken away is queuectl's; this is Python's.
"""

import asyncio
import resource
import subprocess
import sys
import time

import msgspec


async def run(jobs: int, slots: int) -> None:
    """Run `true` so often, and print what it took."""
    left = iter(range(jobs))

    async def work() -> None:
        for _ in left:
            process = await asyncio.create_subprocess_shell(
                "true",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            await process.wait()

    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(slots)))
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    took = {
        "seconds": seconds,
        "user": after.ru_utime - before.ru_utime,
        "system": after.ru_stime - before.ru_stime,
    }
    sys.stdout.write(msgspec.json.encode(took).decode())


if sys.version_info < (3, 12):
    # As later ones do by themselves: else there is a thread for each process.
    asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())

asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
