"""
A program that uses Procrastinate: `procrastinate_child.py schema|enqueue|work ADDRESS JOBS SLOTS`.

`work` leaves when the queue is empty, and fails unless all jobs succeeded.
"""

import asyncio
import sys

import procrastinate

what, address, *numbers = sys.argv[1:]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=address))


async def run(command: str) -> None:
    """Run a command as a job of queuectl is run: by a shell, with its output away."""
    away = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_shell(command, stdin=away, stdout=away)

    if await child.wait() != 0:
        raise RuntimeError(command)


task = app.task(name="run")(run)


async def main() -> None:
    """Do what is asked for."""
    async with app.open_async():
        if what == "schema":
            await app.schema_manager.apply_schema_async()
        elif what == "enqueue":
            await task.batch_defer_async(*[{"command": "true"}] * int(numbers[0]))
        else:
            await app.run_worker_async(
                wait=False, concurrency=int(numbers[1]), install_signal_handlers=False
            )
            left = [
                job
                for status in ("todo", "doing", "failed")
                for job in await app.job_manager.list_jobs_async(status=status)
            ]
            sys.exit(f"{len(left)} jobs did not succeed" if left else 0)


asyncio.run(main())
