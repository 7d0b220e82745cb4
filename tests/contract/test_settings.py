"""The config lives in the database."""

from pathlib import Path

import pytest

from queuectl.engine.domain.settings import DEFAULTS, SETTINGS, SettingValue
from queuectl.engine.store.base import JobStore
from tests.conftest import OpenStore

# Values that are not the default; for keys that are not here, 1 and 2.
VALUES: dict[str, tuple[SettingValue, SettingValue]] = {
    "backoff-jitter": (1, 0.5),
    "on-crash": ("kill", "dead"),
}


async def test_a_new_database_has_the_defaults(store: JobStore) -> None:
    assert await store.settings() == DEFAULTS


@pytest.mark.parametrize("key", SETTINGS)
async def test_a_key_is_set_and_set_again_and_set_back(store: JobStore, key: str) -> None:
    first, second = VALUES.get(key, (1, 2))
    await store.write_setting(key, str(first))
    once = await store.settings()
    await store.write_setting(key, str(second))
    twice = await store.settings()
    await store.delete_setting(key)

    assert (once.values[key], twice.values[key]) == (first, second)
    assert await store.settings() == DEFAULTS


async def test_setting_back_what_was_not_set_is_no_error(store: JobStore) -> None:
    await store.delete_setting("priority")

    assert await store.settings() == DEFAULTS


async def test_a_key_of_a_newer_queuectl_does_no_harm(store: JobStore) -> None:
    await store.write_setting("not-yet-invented", "yes")

    assert await store.settings() == DEFAULTS


async def test_a_change_is_seen_by_every_store_on_the_database(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    other = await opened(db_path)
    await other.settings()

    await store.write_setting("max-retries", "9")

    assert (await other.settings()).max_retries == 9
