"""
The engine in ten lines: queue a command, run it, read what it wrote.

Run it with ``python examples/embed.py``. The queue is the file ``jobs.db`` in the
current folder, and stays there: ``queuectl --db jobs.db list`` shows the same job.
"""

import asyncio

from queuectl import QueueEngine


async def main() -> None:
    """Queue one command and wait for it."""
    async with QueueEngine("jobs.db") as engine:
        job = await engine.enqueue('echo "I am $QUEUECTL_JOB_ID"', timeout=600, priority=200)

        async with engine.workers(concurrency=4):
            job = await engine.wait(job.id)

        print(job.state, job.exit_code, await engine.output(job.id))


asyncio.run(main())
