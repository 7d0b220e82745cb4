"""Links, pipes and folders that somebody laid where queuectl keeps its files."""

import os
import signal
from pathlib import Path
from typing import Final

import msgspec
import pytest

from queuectl import JobState, QueueEngine, StoreError
from tests.acceptance.home import PATIENCE, Home
from tests.acceptance.jobs import appending, gated
from tests.waiting import wait_until

TREASURE: Final = b"not yours\n"
LARGE: Final = "head -c 100000 /dev/zero"


class Treasure:
    """
    What a planted link leads to; it stays as it is.

    Args:
        folder: Anywhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "treasure"
        self.folder.mkdir()
        self.file = self.folder / "file"
        self.file.write_bytes(TREASURE)
        self.missing = self.folder / "missing"

    def assert_untouched(self) -> None:
        assert list(self.folder.iterdir()) == [self.file]
        assert self.file.read_bytes() == TREASURE
        assert self.file.stat().st_mode & 0o777 == 0o644


def plant(kind: str, place: Path, treasure: Treasure) -> None:
    """Lay something where a name is going to be used."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    match kind:
        case "link to a file":
            place.symlink_to(treasure.file)
        case "link to a folder":
            place.symlink_to(treasure.folder)
        case "link to nothing":
            place.symlink_to(treasure.missing)
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
            (place / "inside").touch()
        case "file":
            place.write_bytes(TREASURE)


LINKS: Final = ("link to a file", "link to a folder", "link to nothing")
ALL_BUT_FILES: Final = (*LINKS, "pipe", "folder")
ALL_BUT_FOLDERS: Final = (*LINKS, "pipe", "file")


@pytest.fixture
def treasure(tmp_path: Path) -> Treasure:
    before = os.umask(0o022)
    try:
        return Treasure(tmp_path)
    finally:
        os.umask(before)


async def assert_refused(home: Home, place: Path, treasure: Treasure) -> None:
    """Make sure that whatever needs this place says so, at once."""
    commands = (["enqueue", "--id", "a", "--", "true"], ["worker", "start"])
    programs = [await home.start(*words) for words in commands]

    for program in programs:
        assert await program.ended() in {1, 7}, program.err
        assert program.err.startswith("error: ")
        assert str(place) in program.err
        assert not {"Traceback", "unexpected", "bug"} & set(program.err.replace(":", " ").split())

    treasure.assert_untouched()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("", kind) for kind in ALL_BUT_FOLDERS),
        *(
            (name, kind)
            for name in ("workers", "wake", "output", "logs")
            for kind in ("link to a folder", "pipe")
        ),
    ],
)
async def test_what_lies_in_place_of_a_folder_is_refused(
    home: Home, treasure: Treasure, name: str, kind: str
) -> None:
    home.database.parent.mkdir(mode=0o700)
    plant(kind, home.state / name, treasure)

    await assert_refused(home, home.state / name, treasure)


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "folder"])
@pytest.mark.parametrize("name", ["queue.db-checkpoint", "queue.db-turnstile"])
async def test_what_lies_in_place_of_a_lock_of_the_database_is_refused(
    home: Home, treasure: Treasure, name: str, kind: str
) -> None:
    plant(kind, home.database.with_name(name), treasure)

    await assert_refused(home, home.database.with_name(name), treasure)


@pytest.mark.parametrize("name", ["queue.db-checkpoint", "queue.db-turnstile"])
async def test_a_pipe_in_place_of_a_lock_of_the_database_holds_up_nobody(
    home: Home, treasure: Treasure, name: str
) -> None:
    plant("pipe", home.database.with_name(name), treasure)

    codes = [(await home.run("enqueue", "--id", f"a{n}", "--", "true")).code for n in range(2)]
    worker = await home.start("worker", "start", "--drain")

    # A pipe can be locked as well as a file.
    assert await worker.ended() in {0, 1, 7}
    assert set(codes) <= {0, 1, 7}


@pytest.mark.parametrize("kind", ["pipe", "folder"])
async def test_what_is_no_file_is_no_database(home: Home, treasure: Treasure, kind: str) -> None:
    plant(kind, home.database, treasure)

    await assert_refused(home, home.database, treasure)


async def worker_home(home: Home, *words: str) -> Path:
    """Start a worker; return its folder."""
    await home.worker(*words)
    [folder] = (home.state / "workers").iterdir()
    return folder


@pytest.mark.parametrize("kind", ALL_BUT_FILES)
async def test_a_worker_passes_over_what_lies_in_place_of_a_runs_file(
    home: Home, treasure: Treasure, kind: str
) -> None:
    ids = ["a", "b", "c"]
    folder = await worker_home(home, "--count", "3")
    # Each of the first three sets of files has a trap in it.
    for name in ("1.lock", "2.exit", "3.log"):
        plant(kind, folder / name, treasure)

    await home.enqueue(*(appending("ran", id=name) for name in ids))
    jobs = await home.json("wait", *ids, "--timeout", "15")

    assert [(job["state"], job["attempts"]) for job in jobs] == [("completed", 1)] * 3
    assert sorted(home.lines("ran")) == ids
    await home.ok("worker", "stop", "--timeout", "15")
    treasure.assert_untouched()
    assert not folder.exists()


@pytest.mark.parametrize("kind", [*ALL_BUT_FILES, "file"])
async def test_nobody_stumbles_over_what_lies_among_a_workers_files(
    home: Home, treasure: Treasure, kind: str
) -> None:
    folder = await worker_home(home)
    await home.enqueue(gated())
    await home.has_lines("began")

    for name in ("7.lock", "8.exit", "9.log", "10.lock.lock", "-1.lock", "\u0663.lock"):
        plant(kind, folder / name, treasure)

    looked = await home.start("logs", "job")
    assert await looked.ended() == 0, looked.err
    assert looked.out == "hello\n"
    followed = await home.start("logs", "-f", "job")
    home.file("go").touch()
    assert await followed.ended() == 0, followed.err
    assert followed.out == "hello\ngoodbye\n"
    treasure.assert_untouched()


@pytest.mark.parametrize("kind", [*ALL_BUT_FILES, "file"])
async def test_recovery_does_not_stumble_over_what_lies_among_a_dead_workers_files(
    home: Home, treasure: Treasure, kind: str
) -> None:
    worker = await home.worker()
    [folder] = (home.state / "workers").iterdir()
    await home.enqueue(gated())
    await home.has_lines("began")

    for name in ("7.lock", "8.exit", "9.log"):
        plant(kind, folder / name, treasure)

    await worker.kill()
    home.file("go").touch()
    next_one = await home.start("worker", "start", "--drain")

    assert await next_one.ended() == 0, next_one.err
    job = await home.job("job")
    assert (job["state"], job["run_count"], home.lines("ended")) == ("completed", 1, ["job"])
    treasure.assert_untouched()


@pytest.mark.parametrize("kind", [*ALL_BUT_FILES, "file"])
async def test_what_lies_among_the_workers_folders_is_no_worker(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.ok("list")
    plant(kind, home.state / "workers" / "0123456789abcdef", treasure)
    plant(kind, home.state / "workers" / "fedcba9876543210" / "lock", treasure)

    result = await home.run("enqueue", "--id", "job", "--", "echo", "fine")
    assert result.code == 0, result.err
    assert "no worker is alive" in result.err
    worker = await home.start("worker", "start", "--drain")
    assert await worker.ended() == 0, worker.err
    assert await home.ok("logs", "job") == "fine\n"
    assert await home.json("worker", "list") == []
    treasure.assert_untouched()


@pytest.mark.parametrize("kind", LINKS)
async def test_a_worker_does_not_take_a_planted_folder_for_its_own(
    db_path: Path, treasure: Treasure, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token = "0123456789abcdef"  # noqa: S105 (guessed, as somebody might)
    plant(kind, db_path.with_name("queue.db-run") / "workers" / token, treasure)

    async with QueueEngine(db_path) as engine:
        await engine.enqueue("true", id="job")

        with monkeypatch.context() as patch:
            patch.setattr(os, "urandom", lambda _: bytes.fromhex(token))
            with pytest.raises(StoreError, match=token):
                await engine.drain()

        treasure.assert_untouched()
        assert await engine.list(JobState.PENDING)
        await engine.drain()
        assert (await engine.get("job")).state is JobState.COMPLETED


@pytest.mark.parametrize("kind", [*LINKS, "pipe", "folder", "file"])
async def test_a_change_is_not_told_to_what_lies_among_the_pipes(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.ok("list")
    place = home.state / "wake" / "0123456789abcdef"
    plant(kind, place, treasure)

    for number in range(3):
        enqueue = await home.start("enqueue", "--id", f"a{number}", "--", "true")
        assert await enqueue.ended() == 0, enqueue.err

    worker = await home.start("worker", "start", "--drain")
    assert await worker.ended() == 0, worker.err
    treasure.assert_untouched()
    assert kind != "file" or place.read_bytes() == TREASURE


@pytest.mark.parametrize("kind", ALL_BUT_FOLDERS)
async def test_a_large_output_waits_where_something_lies_in_place_of_its_folder(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.ok("list")
    place = home.state / "output" / "0"
    plant(kind, place, treasure)
    worker = await home.worker()

    await home.enqueue({"id": "job", "command": LARGE}, {"id": "other", "command": "true"})
    await worker.says("job job: its result waits")
    await home.ok("wait", "other", "--timeout", "15")

    treasure.assert_untouched()
    assert str(place) in worker.err
    place.unlink()
    await home.ok("wait", "job", "--timeout", "15")
    assert len(await home.ok("logs", "job")) == 100_000


@pytest.mark.parametrize("kind", [*LINKS, "pipe", "file"])
async def test_a_large_output_takes_the_place_of_what_lies_there(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.ok("list")
    place = home.state / "output" / "0" / "1.1.log"
    plant(kind, place, treasure)

    await home.enqueue({"id": "job", "command": LARGE})
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    assert len(await home.ok("logs", "job")) == 100_000
    assert place.is_file()
    assert not place.is_symlink()
    treasure.assert_untouched()


@pytest.mark.parametrize("kind", ["link to a file", "pipe"])
async def test_an_output_that_was_replaced_is_not_read_through_a_link(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.enqueue({"id": "job", "command": LARGE})
    assert await (await home.start("worker", "start", "--drain")).ended() == 0
    place = home.state / "output" / "0" / "1.1.log"
    place.unlink()
    plant(kind, place, treasure)

    for words in (["logs", "job"], ["logs", "-f", "job"], ["logs", "--json", "job"]):
        looked = await home.start(*words)
        await looked.ended()
        assert TREASURE.decode() not in looked.out
        assert "Traceback" not in looked.err

    await home.ok("delete", "job")
    treasure.assert_untouched()


@pytest.mark.parametrize("kind", ALL_BUT_FILES)
async def test_a_log_file_of_a_worker_takes_the_place_of_what_lies_there_or_goes_round_it(
    home: Home, treasure: Treasure, kind: str
) -> None:
    await home.ok("list")
    place = home.state / "logs" / "w1.log"
    plant(kind, place, treasure)

    detaching = await home.start("worker", "start", "--detach", "--json")
    code = await detaching.ended()

    treasure.assert_untouched()
    assert code == 0, detaching.err
    log_file = Path(msgspec.json.decode(detaching.out)["log_file"])
    # What cannot be replaced leaves the log under the name that it had before.
    assert (log_file == place) is (kind != "folder")
    assert "started: pid" in log_file.read_text()
    assert log_file.is_file()
    assert not log_file.is_symlink()
    assert len(await home.json("worker", "list")) == 1
    await home.ok("worker", "stop", "--timeout", "15")
    await home.is_quiet()


async def test_a_link_that_is_laid_while_a_job_runs_is_not_followed_at_its_end(
    home: Home, treasure: Treasure
) -> None:
    folder = await worker_home(home)
    await home.enqueue(gated())
    await home.has_lines("began")

    # Not its exit code: the shell opens that by its name, and may write where it likes.
    for name in ("1.lock", "1.log"):
        (folder / name).unlink()
        plant("link to a file", folder / name, treasure)

    home.file("go").touch()
    await home.ok("wait", "job", "--timeout", "15")
    await home.enqueue({"id": "next", "command": "echo fine"})
    await home.ok("wait", "next", "--timeout", "15")

    treasure.assert_untouched()
    assert await home.ok("logs", "next") == "fine\n"


async def test_a_signal_to_a_worker_whose_folder_was_replaced_ends_it(
    home: Home, treasure: Treasure
) -> None:
    worker = await home.worker()
    [folder] = (home.state / "workers").iterdir()
    folder.rename(folder.with_name("moved"))
    plant("link to a folder", folder, treasure)

    worker.send(signal.SIGTERM)
    await wait_until(lambda: not worker.is_running, seconds=PATIENCE)

    treasure.assert_untouched()
