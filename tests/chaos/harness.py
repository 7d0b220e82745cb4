"""Runs a plan: starts everything, lets the nemesis rage, and gathers the evidence."""

import fcntl
import os
import secrets
import signal
import sqlite3
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import msgspec

from queuectl.engine.runtime.liveness import LOCK_NAME
from tests.chaos.copies import CopyReport, judge_copies
from tests.chaos.evidence import End, Evidence, open_to_read, read_rows, read_witnesses
from tests.chaos.figures import Clocked, Figures, make_figures
from tests.chaos.fleet import Fleet
from tests.chaos.logbook import Entry, Logbook, read_acts, read_log
from tests.chaos.marks import end_marked, marked, zombies_of
from tests.chaos.moments import boot_offset, wall
from tests.chaos.nemesis import Nemesis, leaders
from tests.chaos.nursery import Child, Nursery, nursery
from tests.chaos.plan import Act, ActKind, Plan
from tests.chaos.smalldisk import can_mount, small_disk

# Seconds between TERM and KILL; the real command has five of them, and cannot be told.
GRACE: Final = 0.3
_GRACE_OF_COMMAND: Final = 5.0

_STOP_SECONDS: Final = 30.0

# A look for dead workers each second, and some; one that was stopped looks late.
_SWEEP_SECONDS: Final = 10.0
_LOOK: Final = 0.02

# Exit codes of commands. No such job, in another state: nothing was done.
_DENIALS: Final = frozenset({3, 4})
# Also where the database was held, or the nemesis was there first.
_MAY_END_WITH: Final = _DENIALS | {0, 7, -signal.SIGKILL}


class Harness:
    """
    One run of a plan.

    Args:
        plan: The plan.
        folder: Empty; what the run leaves stays there.
        defect: What to plant into the engines; empty for nothing.
    """

    def __init__(self, plan: Plan, folder: Path, *, defect: str = "") -> None:
        self._plan = plan
        self._defect = defect
        self._mark = secrets.token_hex(8)
        self._witness = folder / "witness"
        self._logs = folder / "logs"
        self._copies = folder / "copies"
        self._disk = folder / "disk"
        self._files = folder
        self._database = self._disk / "queue.db"
        self._clients: list[Child] = []
        self._helper_failures: list[str] = []
        self._not_done: list[str] = []

        for made in (self._witness, self._logs, self._copies, self._disk):
            made.mkdir(parents=True)

        self._batches = folder / "batches.json"
        self._batches.write_bytes(msgspec.json.encode(plan.batches))

    async def run(self) -> Figures:
        """Run the plan, judge what it left, and return the figures."""
        began = wall()
        offset = boot_offset()

        jobs = self._plan.size.jobs

        with small_disk(self._disk, jobs) if self._has_small_disk() else nullcontext():
            try:
                drain, evidence = await self._live(offset)
            finally:
                end_marked(self._mark)

        clocked = Clocked(
            seed=self._plan.seed,
            drain=drain,
            seconds=wall() - began,
            copies=sum(len(report.cuts) for report in self._reports()),
            not_done=self._not_done,
        )
        return make_figures(evidence, clocked)

    def _has_small_disk(self) -> bool:
        if self._plan.size.is_disk_small and not can_mount():
            self._not_done.append("fill_disk: a small disk cannot be mounted here")
            return False

        return self._plan.size.is_disk_small

    async def _live(self, offset: float) -> tuple[float, Evidence]:
        async with nursery(self._mark, self._witness, self._logs) as children:
            await self._ended_well(await children.start("set_up", database=str(self._database)))

            stranger = await children.start("idle")

            with Logbook(self._files / "faults.jsonl") as log:
                fleet = Fleet(
                    self._plan,
                    children,
                    self._database,
                    grace=GRACE,
                    log=log,
                    defect=self._defect,
                )
                nemesis = Nemesis(
                    self._plan,
                    fleet,
                    children,
                    database=self._database,
                    mark=self._mark,
                    clients=self._clients,
                    stranger=stranger,
                    folder=self._copies,
                    log=log,
                )
                fleet.may_fail = self._plan.size.is_disk_small
                try:
                    async with anyio.create_task_group() as tasks:
                        for place in range(self._plan.size.engines):
                            tasks.start_soon(fleet.keep, place)

                        drain = await self._rage_and_drain(children, nemesis)
                        strangers = await _farewell(stranger)
                        end = await self._stop_everything(children, fleet)
                finally:
                    nemesis.close()

            failed_copies = nemesis.failed_copies
            end = await self._look_around(children, end, failed_copies)
            end = msgspec.structs.replace(end, strangers=strangers)

        return drain, self._gather(offset, end)

    async def _rage_and_drain(self, children: Nursery, nemesis: Nemesis) -> float:
        """Have all actors at work, and then the queue emptied; return how long that took."""
        began = wall()

        async with anyio.create_task_group() as watchers:
            watchers.start_soon(self._keep_reading, children)

            async with anyio.create_task_group() as workers:
                for number in range(self._plan.size.clients):
                    workers.start_soon(self._keep_client, children, number, began)

                workers.start_soon(self._operate, children, began)
                workers.start_soon(self._command, children, began)
                await nemesis.rage(began)

            over = wall()
            await self._until_settled()
            drained = wall()
            await self._until_swept()
            watchers.cancel_scope.cancel()

        return drained - over

    async def _keep_client(self, children: Nursery, number: int, began: float) -> None:
        """Have a client, and a new one when it was killed, until all is enqueued."""
        while True:
            client = await children.start(
                "enqueue",
                database=str(self._database),
                batches=str(self._batches),
                client=number,
                began=began,
                log=str(self._client_log(number)),
            )
            self._clients.append(client)
            await client.ended.wait()
            self._clients.remove(client)

            if client.code != -signal.SIGKILL:
                self._judge_helper(client)
                return

    async def _keep_reading(self, children: Nursery) -> None:
        reader = await children.start("read", database=str(self._database), seed=self._plan.seed)
        try:
            await reader.ended.wait()
            self._judge_helper(reader)
        finally:
            with anyio.CancelScope(shield=True):
                reader.kill(signal.SIGKILL)
                await reader.ended.wait()

    async def _operate(self, children: Nursery, began: float) -> None:
        acts = self._files / "acts.json"
        acts.write_bytes(msgspec.json.encode([a for a in self._plan.acts if not a.by_command]))
        operator = await children.start(
            "operate",
            database=str(self._database),
            acts=str(acts),
            began=began,
            log=str(self._files / "operator.jsonl"),
        )
        await operator.ended.wait()
        self._judge_helper(operator)

    async def _command(self, children: Nursery, began: float) -> None:
        """Be an operator at a terminal."""
        with Logbook(self._files / "terminal.jsonl") as log:
            for act in self._plan.acts:
                if act.by_command:
                    await anyio.sleep(max(0.0, began + act.at - wall()))
                    await self._type(children, log, act)

    async def _type(self, children: Nursery, log: Logbook, act: Act) -> None:
        """Do an act at a terminal; it is in the log by then, whatever becomes of the command."""
        jobs = list(self._plan.jobs)
        job = jobs[int(act.pick * len(jobs))]
        asked = log.ask(act.kind, [job])
        command = await children.command("--db", str(self._database), *self._words(act, job))
        self._clients.append(command)
        await command.ended.wait()
        self._clients.remove(command)

        if command.code in _DENIALS:
            log.answer(asked, refusal=f"exit code {command.code}")
        elif command.code == 0:
            log.answer(asked)

        if command.code not in _MAY_END_WITH and not self._plan.size.is_disk_small:
            self._judge_helper(command)

    def _words(self, act: Act, job: str) -> list[str]:
        words = {
            ActKind.CANCEL: ["cancel", job],
            ActKind.RETRY: ["retry", job],
            ActKind.RETRY_DEAD: ["dlq", "retry", job],
            ActKind.SET_CONFIG: ["config", "set", "worker-poll-interval", f"{0.2 + act.pick:.2f}"],
            ActKind.SHOW_LIST: ["list", "--json", "--limit", "20"],
            ActKind.SHOW_LOGS: ["logs", job],
        }
        return words.get(act.kind, ["status", "--json"])

    def _judge_helper(self, child: Child) -> None:
        if child.code:
            self._helper_failures.append(f"exit code {child.code}; {child.last_words()}")

    async def _ended_well(self, child: Child) -> None:
        await child.ended.wait()
        self._judge_helper(child)

    async def _until_settled(self) -> None:
        """Return when nothing waits or runs; what never ends is left for the checker to find."""
        connection = open_to_read(self._database)
        question = "SELECT sum(jobs) FROM counts WHERE state IN ('pending', 'processing', 'failed')"
        try:
            with anyio.move_on_after(self._plan.size.drain_seconds):
                while connection.execute(question).fetchone()[0]:  # noqa: ASYNC110 (tells nobody)
                    await anyio.sleep(_LOOK)
        finally:
            connection.close()

    async def _until_swept(self) -> None:
        """
        Return when the living have removed what the dead left.

        What stays is left for the checker to find. Stopping is no moment to look for
        the dead: who was killed just before is the next engine's to find.
        """
        workers = self._database.with_name("queue.db-run") / "workers"
        connection = open_to_read(self._database)
        try:
            with anyio.move_on_after(_SWEEP_SECONDS):
                while homes := _unlisted(connection, workers):
                    for home in homes:
                        _age(home)

                    await anyio.sleep(_LOOK)
        finally:
            connection.close()

    async def _stop_everything(self, children: Nursery, fleet: Fleet) -> End:
        """Stop the engines in order; return what was seen just before and after."""
        fleet.close()
        zombies = list(zombies_of({engine.pid for engine in fleet.alive}))
        stopper = await children.start("stop", database=str(self._database), seconds=_STOP_SECONDS)
        await self._ended_well(stopper)

        with anyio.move_on_after(_STOP_SECONDS):
            await fleet.until_ended()

        left = [found for found in marked(self._mark) if found.pid != children.pid]

        for engine in fleet.alive:
            engine.kill(signal.SIGKILL)

        return End(zombies=zombies, left=leaders(left), engine_failures=fleet.failures)

    async def _look_around(self, children: Nursery, end: End, failed_copies: list[str]) -> End:
        checker = await children.start("check", database=str(self._database))
        await self._ended_well(checker)
        state = self._database.with_name("queue.db-run")
        client = self._client_entries()
        connection = open_to_read(self._database)
        try:
            judged = list(judge_copies(self._reports(), client, connection))
        finally:
            connection.close()

        return msgspec.structs.replace(
            end,
            problems=checker.log.read_text().splitlines(),
            locks=[str(file) for file in sorted(self._disk.rglob("*")) if _is_locked(file)],
            folders=[str(folder.name) for folder in (state / "workers").iterdir()],
            copies=[*judged, *failed_copies],
            helper_failures=self._helper_failures,
        )

    def _gather(self, offset: float, end: End) -> Evidence:
        connection = open_to_read(self._database)
        try:
            rows = read_rows(connection)
        finally:
            connection.close()

        return Evidence(
            client=self._client_entries(),
            faults=list(read_log(self._files / "faults.jsonl")),
            acts=[
                *read_acts(self._files / "operator.jsonl"),
                *read_acts(self._files / "terminal.jsonl"),
            ],
            events=rows.events,
            jobs=rows.jobs,
            runs=rows.runs,
            witness=read_witnesses(self._witness, offset),
            grace=_GRACE_OF_COMMAND if self._plan.size.command_share else GRACE,
            end=end,
            limits={
                job.id: job.max_output_bytes
                for job in self._plan.jobs.values()
                if job.max_output_bytes is not None
            },
        )

    def _client_log(self, number: int) -> Path:
        return self._files / f"client{number}.jsonl"

    def _client_entries(self) -> list[Entry]:
        logs = [self._client_log(number) for number in range(self._plan.size.clients)]
        return [entry for log in logs for entry in read_log(log)]

    def _reports(self) -> list[CopyReport]:
        files = sorted(self._copies.glob("*.json"))
        return [msgspec.json.decode(file.read_bytes(), type=CopyReport) for file in files]


async def _farewell(stranger: Child) -> list[str]:
    """End the stranger, and say so where somebody else has done it before."""
    harmed = [] if stranger.is_alive else [f"process {stranger.pid}"]
    stranger.kill(signal.SIGKILL)
    await stranger.ended.wait()
    return harmed


def _unlisted(connection: sqlite3.Connection, workers: Path) -> list[Path]:
    """Return the folders of workers that live no more."""
    listed = {token for (token,) in connection.execute("SELECT token FROM workers")}
    dead = {token for token in listed if not _is_locked(workers / token / LOCK_NAME)}
    return [home for home in workers.iterdir() if home.name in dead or home.name not in listed]


def _age(home: Path) -> None:
    """Let a folder that has no lock look as if it had been so for long."""
    with suppress(FileNotFoundError):
        if not (home / LOCK_NAME).exists():
            os.utime(home, (0, 0), follow_symlinks=False)


def _is_locked(file: Path) -> bool:
    """Whether somebody holds the lock of a file; SQLite's files have none of this kind."""
    if not file.is_file() or file.name in {"queue.db", "queue.db-wal", "queue.db-shm"}:
        return False

    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)

    return False
