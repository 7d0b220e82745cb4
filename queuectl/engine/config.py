"""The config, which lives in the database."""

from collections.abc import Callable

from queuectl.engine.domain.settings import SettingValue, find_setting
from queuectl.engine.store.base import JobStore


class Config:
    """
    The config of one database; reached as ``engine.config``.

    Args:
        store: Returns the open store.
    """

    def __init__(self, store: Callable[[], JobStore]) -> None:
        self._store = store

    async def show(self) -> dict[str, SettingValue]:
        """Return the value of every key."""
        return dict((await self._store().settings()).values)

    async def get(self, key: str) -> SettingValue:
        """
        Return the value of a key; ``_`` and ``-`` are the same.

        Raises:
            ConfigError: There is no such key.
        """
        setting = find_setting(key)
        return (await self.show())[setting.key]

    async def set(self, key: str, value: float | str) -> SettingValue:
        """
        Set a key; every process sees it from its next look on.

        Returns:
            The value as it is kept.

        Raises:
            ConfigError: There is no such key, or the value is not allowed.
        """
        setting = find_setting(key)
        parsed = setting.parse(str(value))
        await self._store().write_setting(setting.key, str(parsed))
        return parsed

    async def unset(self, key: str) -> SettingValue:
        """
        Set a key back to its default, and return that.

        Raises:
            ConfigError: There is no such key.
        """
        setting = find_setting(key)
        await self._store().delete_setting(setting.key)
        return setting.default
