from datetime import timedelta

import pytest
from hypothesis import example, given, strategies as st

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.models import OnCrash
from queuectl.engine.domain.settings import SETTINGS, Setting, Settings, find_setting
from queuectl.engine.errors import ConfigError
from tests.factories import make_settings

DEFAULTS = {
    "max-retries": 3,
    "backoff-base": 2,
    "backoff-max": 3600,
    "backoff-jitter": 0.1,
    "timeout-sec": 3600,
    "worker-poll-interval": 1.0,
    "priority": 100,
    "on-crash": "adopt",
    "max-output-bytes": 1_073_741_824,
    "event-retention": 604_800,
}
ALIASES = {"base-backoff": "backoff-base", "timeout": "timeout-sec"}
KEYS = (
    "the keys are: max-retries, backoff-base, backoff-max, backoff-jitter, timeout-sec,"
    " worker-poll-interval, priority, on-crash, max-output-bytes, event-retention"
)
RANGES = {
    "max-retries": "a whole number from 0 to 1000000",
    "backoff-base": "a number from 0 to 1000",
    "backoff-max": "a number of seconds, or a duration such as 10m, from 0 to 315360000",
    "backoff-jitter": "a number from 0 to 1",
    "timeout-sec": "a number of seconds, or a duration such as 10m, from 0 to 315360000",
    "worker-poll-interval": "a number of seconds, or a duration such as 10m, from 0.05 to 3600",
    "priority": "a whole number from -2147483647 to 2147483647",
    "on-crash": "one of adopt, kill, dead",
    "max-output-bytes": (
        "a whole number of bytes, or a size such as 10M, from 0 to 9007199254740992"
    ),
    "event-retention": "a number of seconds, or a duration such as 10m, from 0 to 315360000",
}

settings = st.sampled_from(list(SETTINGS.values()))


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a name as somebody may type it, and the key that it means."""
    names = {key: key for key in DEFAULTS} | ALIASES
    name = draw(st.sampled_from(sorted(names)))
    choices = ["-_" if letter == "-" else letter + letter.upper() for letter in name]

    return "".join(draw(st.sampled_from(choice)) for choice in choices), names[name]


@st.composite
def values_as_typed(draw: st.DrawFn) -> tuple[Setting, str]:
    """Draw a setting, and a value of its range as somebody may type it."""
    setting = draw(settings)

    if setting.choices:
        return setting, draw(st.sampled_from(setting.choices))

    if setting.whole:
        return setting, str(draw(st.integers(int(setting.lowest), int(setting.highest))))

    return setting, f"{draw(st.floats(setting.lowest, setting.highest)):.6f}"


def is_allowed(setting: Setting, value: object) -> bool:
    """Whether a value is one of a setting's choices, or lies in its range."""
    if setting.choices:
        return value in setting.choices

    assert isinstance(value, (int, float))
    return setting.lowest <= value <= setting.highest


def refusal_of_name(name: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        find_setting(name)

    return caught.value


def refusal_of_value(key: str, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        SETTINGS[key].parse(text)

    return caught.value


def test_the_keys_and_their_defaults_are_these() -> None:
    defaults = {key: setting.default for key, setting in SETTINGS.items()}

    assert defaults == DEFAULTS


def test_the_keys_are_shown_in_this_order() -> None:
    assert list(SETTINGS) == list(DEFAULTS)


@given(settings)
def test_every_setting_lies_in_its_own_range_and_says_what_it_means(setting: Setting) -> None:
    assert is_allowed(setting, setting.default)
    assert SETTINGS[setting.key] is setting
    assert setting.meaning


@given(spellings())
def test_a_key_is_found_by_every_spelling(spelling: tuple[str, str]) -> None:
    name, key = spelling

    setting = find_setting(f" {name} ")

    assert setting.key == key


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("max_retrys", "max-retries"),
        ("retries", "max-retries"),
        ("MAX_RETRYS", "max-retries"),
        ("backoff_jiter", "backoff-jitter"),
        ("prioritty", "priority"),
        ("base_backof", "base-backoff"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name_and_the_keys(name: str, near: str) -> None:
    error = refusal_of_name(name)

    assert str(error) == f"{name}: no such config key"
    assert error.hint == f"did you mean {near}? {KEYS}"
    assert error.key == name


@pytest.mark.parametrize("name", ["concurrency", "", "x"])
def test_a_key_that_resembles_nothing_is_refused_with_the_keys(name: str) -> None:
    error = refusal_of_name(name)

    assert error.hint == KEYS


@given(st.text() | st.just("\ud800"))
def test_no_name_breaks_the_search(name: str) -> None:
    try:
        setting = find_setting(name)
    except ConfigError as error:
        assert error.key == name  # noqa: PT017 (both ends are right)
    else:
        assert setting.key in DEFAULTS


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max-retries", "0", 0),
        ("max-retries", "1000000", 1_000_000),
        ("max-retries", " 5 ", 5),
        ("backoff-base", "0", 0),
        ("backoff-base", "1.5", 1.5),
        ("backoff-base", "1000", 1000),
        ("backoff-max", "0", 0),
        ("backoff-max", "10m", 600),
        ("backoff-max", "3650d", 315_360_000),
        ("backoff-jitter", "0", 0),
        ("backoff-jitter", "0.25", 0.25),
        ("backoff-jitter", "1", 1),
        ("timeout-sec", "0", 0),
        ("timeout-sec", "1h30m", 5400),
        ("timeout-sec", "0.5", 0.5),
        ("timeout-sec", "315360000", 315_360_000),
        ("worker-poll-interval", "0.05", 0.05),
        ("worker-poll-interval", "50ms", 0.05),
        ("worker-poll-interval", "1h", 3600),
        ("priority", "-2147483647", -2_147_483_647),
        ("priority", "2147483647", 2_147_483_647),
        ("on-crash", "adopt", "adopt"),
        ("on-crash", "kill", "kill"),
        ("on-crash", " dead ", "dead"),
        ("max-output-bytes", "0", 0),
        ("max-output-bytes", "9007199254740992", 9_007_199_254_740_992),
        ("max-output-bytes", "512K", 524_288),
        ("max-output-bytes", "1 GiB", 1_073_741_824),
    ],
)
def test_a_value_is_taken_up_to_the_edges_of_its_range(
    key: str, text: str, value: float | str
) -> None:
    assert SETTINGS[key].parse(text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("max-retries", "-1"),
        ("max-retries", "1000001"),
        ("max-retries", "1.5"),
        ("max-retries", "many"),
        ("backoff-base", "-0.1"),
        ("backoff-base", "1000.5"),
        ("backoff-base", "nan"),
        ("backoff-base", "inf"),
        ("backoff-base", "10m"),
        ("backoff-max", "-1"),
        ("backoff-max", "3651d"),
        ("backoff-jitter", "1.1"),
        ("backoff-jitter", "-0.1"),
        ("backoff-jitter", "10%"),
        ("timeout-sec", "-1"),
        ("timeout-sec", "315360001"),
        ("timeout-sec", "never"),
        ("timeout-sec", "inf"),
        ("worker-poll-interval", "0"),
        ("worker-poll-interval", "0.04"),
        ("worker-poll-interval", "3601"),
        ("priority", "2147483648"),
        ("priority", "-2147483648"),
        ("priority", ""),
        ("on-crash", ""),
        ("on-crash", "Adopt"),
        ("on-crash", "adopt, kill"),
        ("on-crash", "1"),
        ("max-output-bytes", "-1"),
        ("max-output-bytes", "9007199254740993"),
        ("max-output-bytes", "1 GB"),
        ("max-output-bytes", "8388609G"),
        ("max-output-bytes", "0.5"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(key: str, text: str) -> None:
    error = refusal_of_value(key, text)

    assert str(error) == f"{key}: {text!r} is not {RANGES[key]}"
    assert error.key == key


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_range_is_written_without_powers_of_ten(key: str) -> None:
    assert SETTINGS[key].range == RANGES[key]


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_refusal_of_a_long_value_is_short(key: str) -> None:
    error = refusal_of_value(key, "9" * 5000)

    assert len(str(error)) < 300


@given(settings, st.text() | st.text("0123456789.e-+_ smhd"))
def test_no_value_breaks_the_reader(setting: Setting, text: str) -> None:
    try:
        value = setting.parse(text)
    except ConfigError as error:
        assert error.key == setting.key  # noqa: PT017 (both ends are right)
    else:
        assert is_allowed(setting, value)


@given(values_as_typed())
@example((SETTINGS["timeout-sec"], "0.00001"))
@example((SETTINGS["backoff-max"], "0.000001"))
def test_a_value_that_was_taken_can_be_stored_and_read_again(typed: tuple[Setting, str]) -> None:
    setting, text = typed
    taken = setting.parse(text)

    read = Settings.from_stored({setting.key: str(taken)})

    assert read.values[setting.key] == taken


@pytest.mark.parametrize("text", ["3600", "3600.0", "1h", "60m"])
def test_a_whole_number_is_shown_as_one(text: str) -> None:
    value = SETTINGS["timeout-sec"].parse(text)

    assert str(value) == "3600"


def test_a_config_in_which_nothing_was_set_has_the_defaults() -> None:
    config = Settings.from_stored({})

    assert config.values == DEFAULTS


def test_a_key_of_a_newer_program_is_left_out() -> None:
    config = Settings.from_stored({"priority": "7", "from-the-future": "1"})

    assert config.values == DEFAULTS | {"priority": 7}


@pytest.mark.parametrize("text", ["x", "", "-1", "1e-05", "99999999999"], ids=ascii)
def test_a_stored_value_that_this_program_does_not_take_leaves_the_default(text: str) -> None:
    # A newer program may allow more, a hand may have slipped. The config is read whenever a job is
    # enqueued and whenever a run has failed: a result must not be lost for the sake of a number.
    config = Settings.from_stored({"max-retries": text, "priority": "7"})

    assert config.values == DEFAULTS | {"priority": 7}


def test_the_config_gives_its_values_in_the_types_of_the_engine() -> None:
    config = Settings.from_stored(
        {"max-retries": "0", "priority": "-5", "timeout-sec": "90", "worker-poll-interval": "0.5"}
    )

    assert (config.max_retries, config.priority) == (0, -5)
    assert config.timeout == timedelta(seconds=90)
    assert config.poll_interval == timedelta(seconds=0.5)


def test_events_are_kept_for_a_week_for_as_long_as_is_said_or_for_ever() -> None:
    assert make_settings().event_retention == timedelta(days=7)
    assert make_settings(event_retention=60).event_retention == timedelta(minutes=1)
    assert make_settings(event_retention=0).event_retention is None


def test_a_timeout_of_zero_means_never() -> None:
    assert make_settings(timeout_sec=0).timeout is None


@pytest.mark.parametrize("choice", OnCrash)
def test_the_word_of_a_choice_is_the_choice(choice: OnCrash) -> None:
    assert Settings.from_stored({"on-crash": choice.value}).on_crash is choice


@pytest.mark.parametrize("text", ["", "ADOPT", "restart", "1"])
def test_a_stored_word_that_this_program_does_not_know_leaves_the_default(text: str) -> None:
    assert Settings.from_stored({"on-crash": text}).on_crash is OnCrash.ADOPT


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("1000000", 1_000_000), ("0", None)])
def test_an_output_limit_of_zero_means_none(text: str, limit: int | None) -> None:
    assert Settings.from_stored({"max-output-bytes": text}).max_output_bytes == limit


@pytest.mark.parametrize(("own", "base"), [(None, 3), (0, 0), (1.5, 1.5)])
def test_a_job_follows_the_configs_backoff_unless_it_has_its_own(
    own: float | None, base: float
) -> None:
    config = make_settings(backoff_base=3, backoff_max=60, backoff_jitter=0.2)

    backoff = config.backoff(own)

    assert backoff == Backoff(base=base, longest=60, jitter=0.2)
