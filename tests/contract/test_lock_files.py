"""The lock files beside a database: what else has their name, and whose they are."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from queuectl.engine.errors import StoreError
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite import setup
from queuectl.engine.store.sqlite.filelocks import open_lock
from tests.conftest import OpenStore
from tests.contract.processes import other_process
from tests.contract.steps import add_one, ids

NAMES = ("checkpoint", "turnstile")


def plant_link(db_path: Path, name: str) -> Path:
    """Put a link to a file of somebody's where a lock file is to be."""
    target = db_path.with_name("somebodys")
    target.write_text("words")
    link = db_path.with_name(f"{db_path.name}-{name}")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return link


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("name", NAMES)
async def test_a_link_in_the_place_of_a_new_databases_lock_file_is_an_error_of_ours(
    opened: OpenStore, db_path: Path, name: str
) -> None:
    link = plant_link(db_path, name)

    with pytest.raises(StoreError) as caught:
        await opened(db_path)

    assert caught.value.database == str(db_path)
    assert f"cannot make the lock file {link}" in str(caught.value)
    assert link.read_text() == "words"
    link.unlink()
    assert (await add_one(await opened(db_path))).id == "job-1"


@pytest.mark.parametrize("name", NAMES)
async def test_a_store_that_cannot_be_opened_leaves_no_descriptor(
    opened: OpenStore, db_path: Path, name: str
) -> None:
    await (await opened(db_path)).close()
    plant_link(db_path, name)
    before = open_descriptors()

    for _ in range(5):
        with pytest.raises(StoreError, match="cannot make the lock file"):
            await opened(db_path)

    assert open_descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
@pytest.mark.parametrize("end", ["", "-checkpoint", "-turnstile", "-run"])
async def test_what_belongs_to_another_user_is_refused_before_anything_is_made(
    opened: OpenStore, db_path: Path, end: str
) -> None:
    """Whoever made a lock file there would lock the owner out."""
    theirs = db_path.with_name(db_path.name + end)
    await (await opened(db_path)).close()

    for file in db_path.parent.iterdir():
        file.unlink()

    theirs.mkdir() if end == "-run" else theirs.touch()
    os.chown(theirs, 65534, 65534)

    with pytest.raises(StoreError) as caught:
        await opened(db_path)

    assert str(caught.value) == f"{theirs.name} belongs to another user (uid 65534): {db_path}"
    assert str(caught.value.hint).startswith("use queuectl as that user")
    assert list(db_path.parent.iterdir()) == [theirs]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links to somebody else")
async def test_a_link_of_another_user_to_a_database_of_ours_is_followed(
    opened: OpenStore, store: JobStore, db_path: Path
) -> None:
    await add_one(store)
    link = db_path.with_name("link.db")
    link.symlink_to(db_path)
    os.lchown(link, 65534, 65534)

    assert await ids(await opened(link)) == ["job-1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
async def test_a_database_of_another_user_behind_a_link_of_ours_is_refused(
    opened: OpenStore, db_path: Path
) -> None:
    await (await opened(db_path)).close()
    os.chown(db_path, 65534, 65534)
    link = db_path.with_name("link.db")
    link.symlink_to(db_path)

    with pytest.raises(StoreError, match="belongs to another user"):
        await opened(link)


async def test_a_lock_file_that_goes_while_it_is_looked_at_belongs_to_nobody(
    opened: OpenStore, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await opened(db_path)).close()
    turnstile = db_path.with_name(f"{db_path.name}-turnstile")

    def look_and_remove(look: Callable[..., os.stat_result], path: Any, **how: Any) -> Any:
        found = look(path, **how)

        if path == turnstile:
            turnstile.unlink()

        return found

    with monkeypatch.context() as patch:
        for name, look in (("stat", os.stat), ("lstat", os.lstat)):
            patch.setattr(os, name, partial(look_and_remove, look))

        store = await opened(db_path)

    assert (await add_one(store)).id == "job-1"


@pytest.mark.usefixtures("impatient")
async def test_who_has_made_a_database_gives_its_lock_up_whoever_shares_the_open_file(
    opened: OpenStore, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = []

    def open_and_share(file: Path, database: Path) -> int:
        descriptor = open_lock(file, database)
        # As a process that was forked without a word to Python has it.
        shared.append(os.dup(descriptor))
        return descriptor

    monkeypatch.setattr(setup, "open_lock", open_and_share)

    try:
        assert (await add_one(await opened(db_path))).id == "job-1"
    finally:
        for descriptor in shared:
            os.close(descriptor)

    assert len(shared) == 1


async def test_a_child_of_a_program_that_died_over_a_checkpoint_holds_nobody_up(
    store: JobStore, db_path: Path
) -> None:
    async with other_process("fork", db_path, ""):
        assert (await add_one(store)).id == "job-1"
