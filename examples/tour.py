"""
A tour of queuectl: what becomes of jobs that succeed, fail, hang, wait and compete.

Run it with ``python examples/tour.py``. It works on a temporary database with the
library, and prints the shell commands that do the same. What it shows, it checks: when
anything is not as promised, it says so and exits with 1. It takes about nine seconds.
"""

import asyncio
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from queuectl import Job, JobState, QueueEngine, format_duration

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class BrokenPromiseError(Exception):
    """Something is not as queuectl promises."""


def heading(text: str) -> None:
    """Begin a part."""
    print(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n{text}", flush=True)


def command(text: str) -> None:
    """Show the shell command for what comes."""
    print(f"  \033[36m$ {text}\033[0m" if COLOUR else f"  $ {text}", flush=True)


def say(text: str) -> None:
    """Show what happened."""
    print("".join(f"    {line}\n" for line in text.splitlines()), end="", flush=True)


def promise(kept: object, text: str) -> None:
    """Stop the tour where a promise is not kept."""
    if not kept:
        raise BrokenPromiseError(text)


def describe(job: Job) -> str:
    """Return the end of a job in one line."""
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    reason = "" if job.reason is None else f", reason {job.reason}"
    took = "" if job.duration is None else f", {format_duration(job.duration)}"
    return f"{job.id}: {job.state}{code}{reason}{took}"


async def show_success(engine: QueueEngine) -> None:
    """Run a job that succeeds."""
    heading("1. A job is a shell command; its output and exit code are kept")
    shell = 'echo "hello from $QUEUECTL_JOB_ID"; date'
    command(f"queuectl enqueue --id hello --command '{shell}'")
    await engine.enqueue(shell, id="hello")
    command("queuectl wait hello")
    job = await engine.wait("hello")
    say(describe(job))
    promise(job.state is JobState.COMPLETED and job.exit_code == 0, "hello completes")
    command("queuectl logs hello")
    output = await engine.output("hello")
    say(output)
    promise(output.startswith("hello from hello\n"), "the output is kept")


async def show_failure(engine: QueueEngine, folder: Path) -> None:
    """Run a job that fails until it is in the dead letter queue."""
    heading("2. A job that fails is tried again, later and later, then goes to the DLQ")
    shell = 'test -e ready || { echo "attempt $QUEUECTL_ATTEMPT: not ready"; exit 7; }'
    options = "--max-retries 2 --backoff-base 1.4"
    command(f"queuectl enqueue --id deploy {options} --command '{shell}'")
    await engine.enqueue(shell, id="deploy", max_retries=2, backoff_base=1.4, cwd=folder)
    command("queuectl wait deploy")
    job = await engine.wait("deploy")
    attempts = await engine.attempts("deploy")
    previous = None

    for attempt in attempts:
        text = (await engine.output("deploy", attempt=attempt.number)).strip()
        wait = attempt.started_at - previous if previous else timedelta()
        say(f"{text} ({attempt.reason})" + (f" {format_duration(wait)} later" if wait else ""))
        previous = attempt.finished_at

    promise(len(attempts) == 3, "two retries after the first run")  # noqa: PLR2004 (1 + 2)
    command("queuectl dlq list")
    dead = await engine.dlq.list()
    say("\n".join(describe(job) for job in dead))
    promise([job.id for job in dead] == ["deploy"], "what failed for good is in the DLQ")
    promise(job.state is JobState.DEAD and job.exit_code == 7, "deploy is dead")  # noqa: PLR2004 (exit 7)


async def show_retry(engine: QueueEngine, folder: Path) -> None:
    """Take the job out of the dead letter queue, with its cause mended."""
    heading("3. With the cause mended, it is taken out of the DLQ and succeeds")
    command("touch ready")
    await asyncio.to_thread((folder / "ready").touch)
    command("queuectl dlq retry deploy")
    await engine.dlq.retry("deploy")
    command("queuectl wait deploy")
    job = await engine.wait("deploy")
    say(describe(job))
    promise(job.state is JobState.COMPLETED, "deploy completes")
    promise(job.attempts == 1, "its attempts were counted from 0 again")
    promise(not await engine.dlq.list(), "the DLQ is empty")
    promise(len(await engine.attempts("deploy")) == 4, "no earlier attempt is forgotten")  # noqa: PLR2004 (3 + 1)


async def show_timeout(engine: QueueEngine, folder: Path) -> None:
    """Run a job that hangs, with a child of its own."""
    heading("4. A job that hangs is ended after its timeout, with all that it started")
    shell = "(sleep 2; touch survived) & wait"
    command(f"queuectl enqueue --id hang --timeout 1 --max-retries 0 --command '{shell}'")
    await engine.enqueue(shell, id="hang", timeout=1, max_retries=0, cwd=folder)
    command("queuectl wait hang")
    job = await engine.wait("hang")
    say(describe(job))
    promise(job.state is JobState.DEAD and job.reason == "timeout", "hang timed out")
    command("sleep 1.5; test -e survived || echo 'nothing survived'")
    await asyncio.sleep(1.5)
    promise(not (folder / "survived").exists(), "nothing that the job started is left")
    say("nothing survived")


async def show_delay(engine: QueueEngine) -> None:
    """Run a job that is due later."""
    heading("5. A delayed job waits for its time, and holds nobody up")
    command("queuectl enqueue --id later --delay 2s --command 'echo at last'")
    later = await engine.enqueue("echo at last", id="later", delay=2)
    command("queuectl enqueue --id now --command 'echo at once'")
    await engine.enqueue("echo at once", id="now")
    command("queuectl wait now")
    job = await engine.wait("now")
    say(describe(job))
    promise((await engine.get("later")).state is JobState.PENDING, "later is still pending")
    command("queuectl wait later")
    job = await engine.wait("later")
    promise(job.started_at, "later has run")
    waited = (job.started_at or later.created_at) - later.created_at
    say(f"{describe(job)}, started after {format_duration(waited)}")
    promise(waited >= timedelta(seconds=2), "later was not started early")


async def show_priorities(engine: QueueEngine, folder: Path) -> None:
    """Run jobs that compete for one slot."""
    heading("6. The higher priority runs first; equal ones in order of arrival")

    for name, priority in (("low", 10), ("first", 100), ("second", 100), ("urgent", 200)):
        shell = f"echo {name} >> order"
        command(f"queuectl enqueue --id {name} --priority {priority} --command '{shell}'")
        await engine.enqueue(shell, id=name, priority=priority, cwd=folder)

    command("queuectl worker start --count 1 --drain")
    await engine.drain(concurrency=1)
    command("cat order")
    order = await asyncio.to_thread((folder / "order").read_text)
    say(order)
    promise(order.split() == ["urgent", "first", "second", "low"], "priorities are kept")


async def show_status(engine: QueueEngine) -> None:
    """Show what all of it came to."""
    heading("7. All of it, counted")
    command("queuectl status")
    counts = (await engine.stats()).counts
    say("\n".join(f"{state:<11}{number:>3}" for state, number in counts.items()))
    expected = {JobState.COMPLETED: 8, JobState.DEAD: 1}
    promise({s: n for s, n in counts.items() if n} == expected, "no job is missing")


async def tour(folder: Path) -> None:
    """Show all of it, in a folder of its own."""
    async with QueueEngine(folder / "queue.db") as engine:
        heading("Two slots start to work, as one worker with --count 2")
        command("queuectl worker start --detach --count 2")

        async with engine.workers(concurrency=2):
            await show_success(engine)
            await show_failure(engine, folder)
            await show_retry(engine, folder)
            await show_timeout(engine, folder)
            await show_delay(engine)
            heading("The worker stops; what is enqueued from here on waits")
            command("queuectl worker stop")

        await show_priorities(engine, folder)
        await show_status(engine)


def main() -> int:
    """Take the tour."""
    print("queuectl, shown on a temporary database.")
    start = time.monotonic()

    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(tour(Path(folder)))
        except BrokenPromiseError as error:
            print(f"\nNot as promised: {error}", file=sys.stderr)
            return 1

    print(f"\nAll of it was as promised. That took {time.monotonic() - start:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
