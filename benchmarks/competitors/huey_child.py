"""
A program that uses Huey: `huey_child.py enqueue|work FILE on|off JOBS [SLOTS]`.

`work` runs as many threads as there are slots, as its own consumer would, and leaves when the
last task was taken off the queue and is done.
"""

import os
import subprocess
import sys
import threading

from huey import SqliteHuey

what, path, fsync, jobs, *slots = sys.argv[1:]
queue = SqliteHuey("bench", filename=path, fsync=fsync == "on")
count = iter(range(int(jobs) - 1))
lock = threading.Lock()
is_over = threading.Event()


def run(command: str) -> None:
    """Run a command as a job of queuectl is run: by a shell, with its output away."""
    subprocess.run(  # noqa: S602 (a shell is what is compared)
        command, shell=True, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )

    with lock:
        if next(count, None) is None:
            is_over.set()


task = queue.task()(run)

if what == "enqueue":
    for _ in range(int(jobs)):
        task("true")
else:
    consumer = queue.create_consumer(workers=int(slots[0]), worker_type="thread", periodic=False)
    consumer.start()
    is_over.wait()
    # Its own stop waits for threads that sleep; nothing is left to be written.
    os._exit(0)
