"""A program that uses HyperQueue: `hyperqueue_child.py FOLDER JOBS SLOTS`; prints the seconds."""

import sys
import time
from pathlib import Path

from hyperqueue import Job
from hyperqueue.cluster import LocalCluster, WorkerConfig

folder, jobs, slots = sys.argv[1:]
access = Path(folder) / "hq-current" / "access.json"

with LocalCluster(folder) as cluster:
    deadline = time.monotonic() + 10

    # The server is a thread, which writes down a moment later how to reach it.
    while not access.exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    client = cluster.client()
    job = Job()

    for _ in range(int(jobs)):
        job.program(["sh", "-c", "true"], stdout=None, stderr=None)

    submitted = client.submit(job)
    begun = time.perf_counter()
    cluster.start_worker(WorkerConfig(cores=int(slots)))
    client.wait_for_jobs([submitted])
    sys.stdout.write(f"{time.perf_counter() - begun}\n")
    sys.stdout.flush()
