"""How `diagnose` judges versions, file systems, disks and limits; its trial run."""

from pathlib import Path
from typing import Final

import pytest

from queuectl import QueueEngine, Verdict, diagnose
from queuectl.engine.runtime.doctor import filesystem, machine
from queuectl.engine.runtime.doctor.filesystem import Mount, judge_mount, judge_room, mount_of
from queuectl.engine.store.sqlite.driver import Version, check_library, has_wal_reset_bug
from tests.integration.doctors import NOTE, OK, PROBLEM, follow, only


@pytest.fixture
async def made(db_path: Path) -> Path:
    """A database that nobody has open."""
    async with QueueEngine(db_path):
        return db_path


# Judgements


AFFECTED: Final[list[tuple[Version, bool]]] = [
    ((3, 6, 23), False),
    ((3, 7, 0), True),
    ((3, 40, 1), True),
    ((3, 44, 5), True),
    ((3, 44, 6), False),
    ((3, 44, 9), False),
    ((3, 45, 0), True),
    ((3, 49, 2), True),
    ((3, 50, 6), True),
    ((3, 50, 7), False),
    ((3, 51, 0), True),
    ((3, 51, 2), True),
    ((3, 51, 3), False),
    ((3, 52, 0), False),
    ((4, 0, 0), False),
]


@pytest.mark.parametrize(("version", "is_affected"), AFFECTED)
def test_the_versions_that_can_lose_commits_are_known(
    version: Version, *, is_affected: bool
) -> None:
    assert has_wal_reset_bug(version) is is_affected


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 36, 0), PROBLEM), ((3, 40, 1), NOTE), ((3, 50, 7), OK), ((3, 51, 3), OK)],
)
def test_a_library_is_judged_by_its_version(version: Version, verdict: Verdict) -> None:
    assert check_library(version).verdict is verdict


MOUNTS: Final = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,nosuid - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/me/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /my\040share rw - cifs //server/my\040share rw
33 22 0:42 / /remote rw - fuse.sshfs me@server: rw
34 22 0:43 / /guest rw - 9p hostshare rw
35 22 0:44 / /twice rw - nfs server:/twice rw
36 35 0:45 / /twice rw - tmpfs tmpfs rw
37 22 0:46 / /homework rw - btrfs /dev/sdc rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind", "is_network"),
    [
        ("/srv/queue", "ext4", False),
        ("/", "ext4", False),
        ("/home", "nfs4", True),
        ("/home/me", "nfs4", True),
        ("/home/me/local/queue", "xfs", False),
        ("/homework/queue", "btrfs", False),
        ("/homes", "ext4", False),
        ("/my share/queue", "cifs", True),
        ("/remote/queue", "fuse.sshfs", True),
        ("/guest", "9p", True),
        ("/twice/queue", "tmpfs", False),
    ],
)
def test_a_path_is_on_the_mount_that_is_nearest_to_it(
    path: str, kind: str, *, is_network: bool
) -> None:
    mount = mount_of(path, MOUNTS)

    assert mount is not None
    assert (mount.kind, mount.is_network) == (kind, is_network)


def test_where_nothing_is_said_nothing_is_found() -> None:
    assert mount_of("/srv", "") is None


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("ext4", OK),
        ("apfs", OK),
        ("nfs", PROBLEM),
        ("smb3", PROBLEM),
        ("fuse.rclone", PROBLEM),
        ("fuse.bindfs", NOTE),
        ("virtiofs", NOTE),
        ("tmpfs", NOTE),
        ("overlay", NOTE),
    ],
)
def test_a_file_system_is_judged_by_its_kind(kind: str, verdict: Verdict) -> None:
    mount = Mount(point="/", kind=kind)

    assert judge_mount(Path("/srv"), mount).verdict is verdict


MIB: Final = 1024 * 1024


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(0, PROBLEM), (16 * MIB - 1, PROBLEM), (16 * MIB, NOTE), (256 * MIB, OK), (2**50, OK)],
)
def test_a_disk_is_judged_by_its_room(free: int, verdict: Verdict, tmp_path: Path) -> None:
    assert judge_room(tmp_path, free).verdict is verdict


async def test_the_advice_for_a_full_disk_works(tmp_path: Path) -> None:
    follow(judge_room(tmp_path, 0), after="is shown by ")


@pytest.mark.parametrize(
    ("limits", "verdict", "words"),
    [
        ((1024, 4096), OK, "240 slots"),
        ((64, 4096), PROBLEM, "0 slots"),
        ((128, 4096), NOTE, "16 slots"),
        ((128, -1), NOTE, "16 slots"),
        ((128, 128), NOTE, "16 slots"),
        ((-1, -1), OK, "any number"),
    ],
)
def test_the_limit_of_open_files_is_judged_by_the_slots_it_leaves(
    limits: tuple[int, int], verdict: Verdict, words: str
) -> None:
    found = machine.check_descriptors(limits)

    assert (found.verdict, words in found.words) == (verdict, True)


async def test_a_long_log_is_noted_and_the_advice_shortens_it(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_LONG_LOG", 100_000)
    log = made.with_name("queue.db-wal")

    async with QueueEngine(made) as engine:
        await engine.enqueue_many(["x"] * 1000)
        found = only(await diagnose(made), "size")
        assert (found.verdict, log.stat().st_size > 100_000) == (NOTE, True)
        follow(found, after="such as: ")
        assert only(await diagnose(made), "size").verdict is OK


# What the machine must be able to do


async def test_locks_that_nobody_else_sees_are_a_problem(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.runtime.locks.fcntl.flock", lambda *_: None)
    [_, found] = await machine.check_shell_and_locks(made.parent)

    assert found.verdict is PROBLEM
    assert "is not seen by another" in found.words
    assert "is not inherited" in found.words


async def test_a_file_system_without_locks_is_a_problem(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("queuectl.engine.runtime.locks.fcntl.flock", refuse)
    before = sorted(made.parent.iterdir())
    [found] = await machine.check_shell_and_locks(made.parent)

    assert (found.check, found.verdict) == ("locks", PROBLEM)
    assert "Operation not supported" in found.words
    assert sorted(made.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("shell", "words"),
    [("/nowhere/sh", "cannot be started"), ("/bin/false", "does not do what it is told")],
)
async def test_a_shell_that_does_not_work_is_a_problem(
    shell: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.runtime.process.SHELL", shell)
    found = only(await machine.check_shell_and_locks(tmp_path), "shell")

    assert (found.verdict, words in found.words) == (PROBLEM, True)
    assert list(tmp_path.iterdir()) == []


async def test_the_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    findings = await machine.check_shell_and_locks(tmp_path)

    assert [(found.check, found.verdict) for found in findings] == [("shell", OK), ("locks", OK)]
    assert list(tmp_path.iterdir()) == []
