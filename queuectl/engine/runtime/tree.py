"""
What belongs to a run: its session, and whatever left that and carries its mark.

A run is over only when nothing of it is left. A process is taken for one of a
run's by what a stranger cannot have: the run's mark in the environment that it
began with, or the run's own files, given to it. Its number is never proof: a session
counts where one of it is proved by these. Where none is, and its first process
may be the shell by its age, nothing is done to it, and the job waits.
"""

import math
import os
from datetime import datetime
from signal import Signals
from typing import Final, Self

import msgspec

from queuectl.engine.runtime import proc
from queuectl.engine.runtime.clock import SystemClock, file_time, until
from queuectl.engine.runtime.ending import Remains, steps
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread

# Seconds between two looks while it is being ended: soon at first, for most are
# gone at once.
_LOOKS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

# Seconds that the last of a process may keep its files when the rest of it is gone,
# as threads do that die beside each other.
_LETTING_GO: Final = 0.5

# Why a job waits that nobody can do anything about.
HELD_UNSEEN: Final = "its files are held by a process that the system does not list"

# How far the clocks of the disk and of the processes may be apart, and how long
# the shell may take to its first word, in seconds.
_CLOCKS_APART: Final = 0.1
_FIRST_WORD: Final = 2.0


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was found of a run.

    Attributes:
        ours: Processes that are proved to be the run's.
        unclear: Processes in a session of the run's number, with no proof
            whose it is.
        is_held: Whether somebody, seen or not, has the run's files.
    """

    ours: tuple[Process, ...]
    unclear: tuple[Process, ...] = ()
    is_held: bool

    @property
    def is_hidden(self) -> bool:
        """Whether somebody has the run's files, and nobody is seen who has."""
        return self.is_held and not self.ours

    @property
    def remains(self) -> Remains:
        """What there is of the run: nothing, who is seen, or who is not."""
        if self.is_hidden:
            return Remains.HIDDEN

        return Remains.LEFT if self.ours else Remains.GONE


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """
    What runs on the system, but for this process.

    Attributes:
        marks: By process, the mark that it carries, where it carries one.
    """

    marks: dict[Process, Mark | None]

    @classmethod
    def now(cls) -> Self:
        """List it. Blocking: some milliseconds; empty where nothing can be listed."""
        if not proc.can_list():
            return cls(marks={})

        me = os.getpid()
        found = (process for process in proc.processes() if process.pid != me)
        return cls(marks={p: Mark.read(proc.first_environ(p.pid)) for p in found})

    def marked(self, token: str, database: str) -> dict[Process, Mark]:
        """Return what carries the mark of a run that a worker of this database started."""
        return {
            process: mark
            for process, mark in self.marks.items()
            if mark is not None and mark.token == token and mark.is_of(database)
        }


def find_shell(listed: Listing, mark: Mark, first_words: str) -> int | None:
    """
    Return the number of a run's shell, where it is there and its note is not. Blocking.

    Of all that carries the run's mark it alone leads a session and was told to write
    that note: what a command starts in a session of its own is another program.

    Args:
        listed: The processes of the system.
        mark: What the run's processes carry.
        first_words: What its shell was told to do first.
    """
    marked = listed.marked(mark.token, mark.database)
    words = os.fsencode(first_words)
    leaders = (p for p, its in marked.items() if its.key == mark.key and p.pid == p.session)
    return next((p.pid for p in leaders if words in proc.command_line(p.pid)), None)


class RunTree:
    """
    The processes of one run, wherever they went.

    Args:
        mark: What its processes carry.
        files: The run's; need not be open.
        leader: The number of its shell, which is its session's and its
            group's; None where the shell did not come to write it down.
        began_at: When it wrote that down.
    """

    def __init__(
        self,
        mark: Mark,
        files: RunFiles | None,
        leader: int | None = None,
        began_at: datetime | None = None,
    ) -> None:
        self._mark = mark
        self._files = files
        self._leader = leader
        self._began_at = began_at
        # When it was first told to end.
        self.told_at: float | None = None

    def look(self, listed: Listing | None = None) -> Members:
        """
        Return what is there of it. Blocking.

        Args:
            listed: The processes of the system, as they were when nobody could
                start one of the run's any more; else they are listed now.
        """
        if not proc.can_list():
            return self._look_by_group()

        members = self._look_at(Listing.now() if listed is None else listed)
        # Whoever holds the files may have been forked while the processes were being listed.
        return self._look_at(Listing.now()) if members.is_hidden else members

    def _look_at(self, listed: Listing) -> Members:
        all_ = list(listed.marks)
        marked = listed.marked(self._mark.token, self._mark.database)
        ours = {p.pid: p for p, mark in marked.items() if mark.key == self._mark.key}

        is_held = self._is_held()

        # Of a run of our own who has the output cannot be told from us, but by looking.
        if self._files is not None and (is_held or self._files.has_output_lock):
            files = self._files.identities()
            ours |= {p.pid: p for p in all_ if p.pid not in ours and proc.was_given(p.pid, files)}

        mine, unclear = self._judge_session(all_, set(ours))
        return Members(ours=(*ours.values(), *mine), unclear=tuple(unclear), is_held=is_held)

    def _is_held(self) -> bool:
        return self._files is not None and self._files.is_held()

    def _judge_session(
        self, all_: list[Process], ours: set[int]
    ) -> tuple[list[Process], list[Process]]:
        """Return what of the session is the run's too, and of what that cannot be said."""
        session = [p for p in all_ if self._leader in {p.session, p.group}]
        rest = [p for p in session if p.pid not in ours]
        leader = next((p for p in rest if p.pid == self._leader), None)

        # A number is not used again while anything of the session is there.
        if len(rest) < len(session):
            return rest, []

        if leader is None:
            return [], rest

        # It leads the session: as old as the run it is the run's shell, and if
        # not it is somebody who got the number of one that is gone.
        return ([], rest) if self._may_be_the_shell(leader) else ([], [])

    async def end(self, grace: float, *, group_only: bool = False) -> Remains:
        """
        End all of it: TERM, ``grace`` seconds, KILL.

        Args:
            grace: Seconds.
            group_only: Leave what has left the shell's process group.

        Returns:
            GONE where nothing of it is seen and, but for what is left on purpose,
            nobody holds its files.
        """
        remains = Remains.LEFT

        for number, seconds in steps(grace):
            remains = await self._end_by(number, seconds, group_only=group_only)

            if remains is Remains.GONE:
                break

        return remains

    async def _end_by(self, number: Signals, seconds: float, *, group_only: bool) -> Remains:
        clock = SystemClock()
        remains = Remains.GONE
        let_go_by = math.inf
        told: set[tuple[int, int]] = set()

        # It may fork meanwhile, so who is there is asked, and told, again each time.
        async def is_gone() -> bool | None:
            nonlocal remains, let_go_by
            members = await in_thread(self._look_for, group_only)
            remains = members.remains

            if remains is Remains.GONE:
                return True

            news = [p for p in members.ours if (p.pid, p.started) not in told]
            await in_thread(self._signal, news, number)
            told.update((p.pid, p.started) for p in news)
            now = clock.monotonic()

            # Who is not seen cannot be told to end, and takes what time it likes.
            let_go_by = min(let_go_by, now + _LETTING_GO) if members.is_hidden else math.inf
            return None if now >= let_go_by else False

        await until(is_gone, seconds, _LOOKS)
        return remains

    def _look_for(self, group_only: bool) -> Members:  # noqa: FBT001 (called by position)
        members = self.look()

        if not group_only:
            return members

        group = tuple(p for p in members.ours if p.group == self._leader)
        return Members(ours=group, is_held=False)

    def _signal(self, members: list[Process], number: Signals) -> None:
        if members and self.told_at is None:
            self.told_at = file_time()

        # The whole group first, for nothing in it can fork away from that.
        if self._leader is not None and any(p.group == self._leader for p in members):
            proc.signal_group(self._leader, number)

        for process in members:
            if process.group != self._leader:
                proc.send(process, number)

    def _may_be_the_shell(self, process: Process) -> bool:
        """
        Whether a process of the shell's number began shortly before the shell's first word.

        One that got the number of a shell that is gone began after that word.
        """
        if self._began_at is None:
            return False

        return -_CLOCKS_APART < _head_start(process, self._began_at) < _FIRST_WORD

    def _look_by_group(self) -> Members:
        """Ask for the group alone, where the system does not list what belongs to whom."""
        is_held = self._is_held()

        if self._leader is None or self._files is None or not proc.has_group(self._leader):
            return Members(ours=(), is_held=is_held)

        group = (Process(pid=self._leader, group=self._leader, session=self._leader, started=0),)
        return Members(
            ours=group if is_held else (),
            unclear=() if is_held else group,
            is_held=is_held,
        )


def began_before(process: Process, word: datetime) -> bool:
    """Whether a process was there when a run's shell wrote, as whoever got its number was not."""
    return _head_start(process, word) > -_CLOCKS_APART


def _head_start(process: Process, word: datetime) -> float:
    """Return how many seconds before the shell wrote a process began."""
    age = proc.uptime() - process.started_seconds
    # The disk's times are the wall clock's.
    return age - (SystemClock().now() - word).total_seconds()
