"""The lock files beside a database, where something else has their name."""

from pathlib import Path

import pytest

from queuectl.engine.errors import StoreError
from tests.conftest import OpenStore
from tests.contract.steps import add_one

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
