"""A system that is out of processes and threads for a while."""

from pathlib import Path
from typing import Final

from tests.integration.processes import AS_ANOTHER_USER, engine_process

# The limit does not hold for the superuser.
SCARCE: Final = (
    AS_ANOTHER_USER
    + """
import asyncio, logging, os, resource, sys
from queuectl import QueueEngine

def limit(soft):
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, resource.getrlimit(resource.RLIMIT_NPROC)[1]))

class Heard(logging.Handler):
    def __init__(self, words):
        super().__init__()
        self.words = words
        self.all = asyncio.Event()

    def emit(self, record):
        self.words -= {words for words in self.words if words in record.getMessage()}
        self.words or self.all.set()

async def main():
    db = sys.argv[1]
    before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    async with QueueEngine(db, kill_grace=0.3) as engine, engine.workers(2):
        warm = await engine.enqueue("true")
        await engine.wait(warm.id, timeout=10)
        print("ready", flush=True)
        BODY

asyncio.run(main())
"""
)

FORKS: Final = """
        limit(1)
        await engine.enqueue("echo ran", id="job", max_retries=0)
        while not (runs := await engine.attempts("job")) or runs[0].outcome is None:
            await asyncio.sleep(0.01)
        limit(before)
        job = await engine.wait("job", timeout=10)
        print(runs[0].outcome, runs[0].reason, job.state, job.attempts, sep=", ", flush=True)
"""

# Enough for the shell around a command, and not for the one that runs it.
ONE_MORE: Final = FORKS.replace(
    "limit(1)", 'limit(len(os.listdir("/proc/self/task")) + 1)'
).replace("echo ran", "eval 'echo ran'")

THREADS: Final = """
        go = os.path.dirname(db) + "/go"
        gate = f"until [ -e {go} ]; do sleep 0.01; done; head -c 20000 /dev/zero"
        await engine.enqueue(gate, id="job")
        while (await engine.get("job")).state != "processing":
            await asyncio.sleep(0.01)
        heard = Heard({"cannot look for dead workers: ", "its result waits: "})
        logging.getLogger("queuectl").addHandler(heard)
        limit(1)
        open(go, "w").close()
        await asyncio.wait_for(heard.all.wait(), 5)
        limit(before)
        job = await engine.wait("job", timeout=10)
        size = len(await engine.output_bytes("job"))
        print(job.state, job.run_count, size, sep=", ", flush=True)
"""


async def test_a_job_that_finds_no_free_process_is_given_back_and_tried_again(
    others_folder: Path,
) -> None:
    async with engine_process(SCARCE.replace("BODY", FORKS), others_folder / "queue.db") as scarce:
        said = await scarce.line()

    assert said == (
        "interrupted, the system could not start it: Resource temporarily unavailable,"
        " completed, 1\n"
    )


async def test_a_job_whose_shell_finds_no_free_process_is_given_back_and_tried_again(
    others_folder: Path,
) -> None:
    script = SCARCE.replace("BODY", ONE_MORE)

    async with engine_process(script, others_folder / "queue.db") as scarce:
        said = await scarce.line()

    assert said == (
        "interrupted, the system could not start it: no free process for its command,"
        " completed, 1\n"
    )


async def test_a_worker_that_finds_no_free_thread_goes_on_when_there_is_one(
    others_folder: Path,
) -> None:
    async with engine_process(
        SCARCE.replace("BODY", THREADS), others_folder / "queue.db"
    ) as scarce:
        said = await scarce.line()

    assert said == "completed, 1, 20000\n"
