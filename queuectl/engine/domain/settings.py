"""The config keys: their defaults, ranges and aliases."""

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Final, TypeAlias

import msgspec

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.durations import parse_duration
from queuectl.engine.domain.models import OnCrash
from queuectl.engine.domain.sizes import LARGEST, parse_size
from queuectl.engine.errors import ConfigError, plain, quoted

# Whatever str() makes of a number can be read again, 1e-05 too. What int() and float()
# take beyond that is left out: 1_000, inf, the digits of every script.
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.ASCII | re.IGNORECASE)

SettingValue: TypeAlias = int | float | str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """
    One config key.

    Attributes:
        key: Its name, with dashes.
        default: Its value where nothing was set.
        lowest: The smallest value allowed.
        highest: The largest value allowed.
        whole: Only whole numbers are allowed.
        is_duration: Seconds; ``10m`` and the like are understood too.
        is_size: Bytes; ``10M`` and the like are understood too.
        choices: The words allowed, where it is not a number.
        meaning: One line for the help and the reference.
        aliases: Other names of the key.
    """

    key: str
    default: "SettingValue"
    meaning: str
    lowest: int | float = 0
    highest: int | float = 0
    whole: bool = False
    is_duration: bool = False
    is_size: bool = False
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def parse(self, text: str) -> SettingValue:
        """
        Read a value of this key.

        Raises:
            ConfigError: It is not a number, or outside the range, or not one
                of the choices.
        """
        if self.choices:
            if text.strip() not in self.choices:
                raise self._refuse(text)

            return text.strip()

        try:
            value = self._number(text.strip())
        except ValueError as error:
            raise self._refuse(text) from error

        if not self.lowest <= value <= self.highest:
            raise self._refuse(text)

        # 3600.0 becomes 3600, so that it is shown as it was set.
        return int(value) if value == int(value) else value

    @property
    def range(self) -> str:
        """The values allowed, as words: ``a whole number from 0 to 1000``."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"

        noun = "a whole number" if self.whole else "a number"
        unit = ""

        if self.is_duration:
            unit = " of seconds, or a duration such as 10m,"
        elif self.is_size:
            unit = " of bytes, or a size such as 10M,"

        return f"{noun}{unit} from {plain(self.lowest)} to {plain(self.highest)}"

    def _number(self, text: str) -> int | float:
        if self.is_duration and not _NUMBER.fullmatch(text):
            return parse_duration(text).total_seconds()

        if self.is_size:
            return parse_size(text)

        if not _NUMBER.fullmatch(text):
            raise ValueError(text)

        return int(text) if self.whole else float(text)

    def _refuse(self, text: str) -> ConfigError:
        return ConfigError(self.key, f"{quoted(text)} is not {self.range}")


_DECADE: Final = 315_360_000
HIGHEST_PRIORITY: Final = 2_147_483_647
MOST_RETRIES: Final = 1_000_000

SETTINGS: Final[dict[str, Setting]] = {
    setting.key: setting
    for setting in (
        Setting(
            key="max-retries",
            default=3,
            lowest=0,
            highest=MOST_RETRIES,
            whole=True,
            meaning="retries after the first run, for jobs that do not say",
        ),
        Setting(
            key="backoff-base",
            default=2,
            lowest=0,
            highest=1000,
            aliases=("base-backoff",),
            meaning="the wait after run n is this to the power of n, in seconds",
        ),
        Setting(
            key="backoff-max",
            default=3600,
            lowest=0,
            highest=_DECADE,
            is_duration=True,
            meaning="no wait between two runs is longer, in seconds",
        ),
        Setting(
            key="backoff-jitter",
            default=0.1,
            lowest=0,
            highest=1,
            meaning="the largest share added to a wait at random, 0.1 for 10 %",
        ),
        Setting(
            key="timeout-sec",
            default=3600,
            lowest=0,
            highest=_DECADE,
            is_duration=True,
            aliases=("timeout",),
            meaning="a run is ended after this many seconds, 0 for never",
        ),
        Setting(
            key="worker-poll-interval",
            default=1.0,
            lowest=0.05,
            highest=3600,
            is_duration=True,
            meaning="seconds between two looks at the queue where no hint arrives",
        ),
        Setting(
            key="priority",
            default=100,
            lowest=-HIGHEST_PRIORITY,
            highest=HIGHEST_PRIORITY,
            whole=True,
            meaning="for jobs that do not say; higher runs first",
        ),
        Setting(
            key="on-crash",
            default=OnCrash.ADOPT.value,
            choices=tuple(choice.value for choice in OnCrash),
            meaning="what becomes of a run whose worker died while it goes on",
        ),
        Setting(
            key="max-output-bytes",
            default=1024**3,
            lowest=0,
            highest=LARGEST,
            whole=True,
            is_size=True,
            meaning="a run that writes more than this is ended, 0 for no limit",
        ),
        Setting(
            key="event-retention",
            default=604_800,
            lowest=0,
            highest=_DECADE,
            is_duration=True,
            meaning="events are kept for this many seconds, 0 for ever",
        ),
    )
}

_NAMES: Final[dict[str, str]] = {
    name: setting.key for setting in SETTINGS.values() for name in (setting.key, *setting.aliases)
}


def find_setting(name: str) -> Setting:
    """
    Look a key up; ``_`` and ``-`` are the same, aliases are known.

    Raises:
        ConfigError: There is no such key.
    """
    wanted = name.strip().lower().replace("_", "-")
    key = _NAMES.get(wanted)

    if key is None:
        near = difflib.get_close_matches(wanted, _NAMES, n=1)
        question = f"did you mean {near[0]}? " if near else ""
        keys = ", ".join(SETTINGS)
        raise ConfigError(name, "no such config key", hint=f"{question}the keys are: {keys}")

    return SETTINGS[key]


class Settings(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """
    The config as it stands: a value for every key.

    What it says for jobs is worked out once: many thousands may be enqueued together.

    Attributes:
        values: By key, with dashes.
    """

    values: dict[str, SettingValue]

    @classmethod
    def from_stored(cls, stored: Mapping[str, str]) -> "Settings":
        """
        Read what the database holds; what it does not hold has its default.

        So has a value that is not taken here: a newer queuectl may have written it,
        and the outcome of a run must not be lost for the sake of a number. Keys
        unknown here are left out.
        """
        return cls(
            values={key: _stored(setting, stored.get(key)) for key, setting in SETTINGS.items()}
        )

    @cached_property
    def max_retries(self) -> int:
        """Retries after the first run, for jobs that do not say."""
        return int(self._number("max-retries"))

    @cached_property
    def priority(self) -> int:
        """The priority of jobs that do not say."""
        return int(self._number("priority"))

    @cached_property
    def timeout(self) -> timedelta | None:
        """How long a run may take, for jobs that do not say; None for ever."""
        seconds = self._number("timeout-sec")
        return timedelta(seconds=seconds) if seconds else None

    @cached_property
    def on_crash(self) -> OnCrash:
        """What becomes of a run whose worker died, for jobs that do not say."""
        return OnCrash(str(self.values["on-crash"]))

    @cached_property
    def max_output_bytes(self) -> int | None:
        """How much a run may write, for jobs that do not say; None for no limit."""
        return int(self._number("max-output-bytes")) or None

    @cached_property
    def event_retention(self) -> timedelta | None:
        """How long events are kept, None for ever."""
        seconds = self._number("event-retention")
        return timedelta(seconds=seconds) if seconds else None

    @cached_property
    def poll_interval(self) -> timedelta:
        """The time between two looks at the queue where no hint arrives."""
        return timedelta(seconds=self._number("worker-poll-interval"))

    def backoff(self, base: float | None) -> Backoff:
        """
        Return the backoff of a job.

        Args:
            base: The job's own base, or None to follow the config.
        """
        return Backoff(
            base=self._number("backoff-base") if base is None else base,
            longest=self._number("backoff-max"),
            jitter=self._number("backoff-jitter"),
        )

    def _number(self, key: str) -> int | float:
        value = self.values[key]
        assert not isinstance(value, str)  # noqa: S101 (the key says which it is)
        return value


def _stored(setting: Setting, text: str | None) -> SettingValue:
    try:
        return setting.default if text is None else setting.parse(text)
    except ConfigError:
        return setting.default


DEFAULTS: Final = Settings.from_stored({})
