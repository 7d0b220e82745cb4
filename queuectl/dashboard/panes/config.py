"""The config."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl import SETTINGS, Setting
from queuectl.dashboard import words
from queuectl.dashboard.text import readable_line

if TYPE_CHECKING:
    from queuectl import QueueEngine

# The largest in front.
_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """
    A value that was not taken.

    Attributes:
        key: Of which key.
        value: As it was typed.
        message: Why not.
    """

    key: str
    value: str
    message: str


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    A config key as it is shown.

    Attributes:
        key: Its name.
        meaning: What it is for.
        range: The values allowed, in words.
        default: Its default, in words.
        value: What stands in its field.
        said: The value in words, where a number says little; else empty.
        choices: The values to choose from; empty where it is typed.
        is_default: Whether nobody has changed it.
        problem: Why a value was refused; empty where none was.
    """

    key: str
    meaning: str
    range: str
    default: str
    value: str
    said: str
    choices: tuple[str, ...]
    is_default: bool
    problem: str


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The config.

    Attributes:
        settings: Every key.
        changed: How many are not at their defaults.
    """

    settings: tuple[SettingRow, ...]
    changed: int


async def load(engine: "QueueEngine", params: Mapping[str, str], now: datetime) -> ConfigView:
    """Look the config up."""
    del params, now
    return config_view(await engine.config.show())


def config_view(values: Mapping[str, float | str], *, refused: Refused | None = None) -> ConfigView:
    """
    Return the config as it is shown.

    Args:
        values: By key.
        refused: A value that was typed and not taken; it stays in its field.
    """
    rows = tuple(_row(setting, values[setting.key], refused) for setting in SETTINGS.values())
    return ConfigView(settings=rows, changed=sum(not row.is_default for row in rows))


def _row(setting: Setting, value: float | str, refused: Refused | None) -> SettingRow:
    ours = refused if refused is not None and refused.key == setting.key else None

    return SettingRow(
        key=setting.key,
        meaning=setting.meaning,
        range=setting.range,
        default=f"{setting.default}",
        value=f"{value}" if ours is None else readable_line(ours.value),
        said=_said(setting, value),
        choices=setting.choices,
        is_default=value == setting.default,
        problem="" if ours is None else readable_line(ours.message),
    )


def _said(setting: Setting, value: float | str) -> str:
    """Return a size or a duration in words: a large number of its units is hard to read."""
    if isinstance(value, str):
        return ""

    if setting.is_size:
        return words.size(int(value)) if value > 0 else ""

    return _duration(timedelta(seconds=value)) if setting.is_duration else ""


def _duration(value: timedelta) -> str:
    """Write a duration that was chosen, so mostly a round one; empty where it is short."""
    if value < _UNITS["min"]:
        return ""

    round_ones = (f"{value // unit} {name}" for name, unit in _UNITS.items() if not value % unit)
    return next(round_ones, words.duration(value))
