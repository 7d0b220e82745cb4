"""``config``."""

from pathlib import Path

import pytest

from tests.cli.program import Queuectl, Result

GOLDEN = Path(__file__).with_name("golden")
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
# What a key can be set to; for keys that are not here, 1.
OTHER_VALUES = {"on-crash": "kill"}
SPELLINGS = {
    **{key: key for key in DEFAULTS},
    **{key.replace("-", "_"): key for key in DEFAULTS},
    "base_backoff": "backoff-base",
    "base-backoff": "backoff-base",
    "timeout": "timeout-sec",
    "MAX_RETRIES": "max-retries",
    "On-Crash": "on-crash",
}


def test_show_prints_every_key_its_value_and_its_meaning(queuectl: Queuectl) -> None:
    assert queuectl("config", "show") == Result(0, (GOLDEN / "config_show.txt").read_text(), "")


def test_show_in_json_is_an_object_of_keys_and_values(queuectl: Queuectl) -> None:
    assert queuectl.json("config", "show") == DEFAULTS


@pytest.mark.parametrize(("name", "key"), SPELLINGS.items())
def test_every_spelling_of_a_key_is_the_same_key(name: str, key: str, queuectl: Queuectl) -> None:
    other = OTHER_VALUES.get(key, 1)

    assert queuectl.json("config", "get", name) == {key: DEFAULTS[key]}
    assert queuectl.ok("config", "set", name, str(other)).out == f"{other}\n"
    assert queuectl.json("config", "show")[key] == other
    assert queuectl.json("config", "unset", name) == {key: DEFAULTS[key]}
    assert queuectl.json("config", "show") == DEFAULTS


def test_get_prints_the_value_alone(queuectl: Queuectl) -> None:
    assert queuectl("config", "get", "max-retries") == Result(0, "3\n", "")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("timeout-sec", "10m", 600),
        ("timeout-sec", "1h30m", 5400),
        ("timeout-sec", "0", 0),
        ("worker-poll-interval", "500ms", 0.5),
        ("backoff-base", "1.5", 1.5),
        ("backoff-jitter", "0", 0),
        ("priority", "-5", -5),
        ("max-retries", "0", 0),
        ("max-output-bytes", "0", 0),
        ("max-output-bytes", "5000000000", 5_000_000_000),
        ("max-output-bytes", "10MiB", 10_485_760),
        ("on-crash", "dead", "dead"),
    ],
)
def test_set_takes_numbers_durations_and_words(
    key: str, text: str, value: float | str, queuectl: Queuectl
) -> None:
    assert queuectl.json("config", "set", key, text) == {key: value}
    assert queuectl.json("config", "get", key) == {key: value}


def test_what_is_set_holds_for_the_next_job(queuectl: Queuectl) -> None:
    queuectl.ok("config", "set", "max-retries", "7")
    queuectl.ok("config", "set", "priority", "-3")
    queuectl.ok("config", "set", "timeout", "90s")
    queuectl.ok("config", "set", "on-crash", "kill")
    queuectl.ok("config", "set", "max-output-bytes", "4096")
    job = queuectl.json("enqueue", "--", "true")

    assert (job["max_retries"], job["priority"], job["timeout_sec"]) == (7, -3, 90)
    assert (job["on_crash"], job["max_output_bytes"]) == ("kill", 4096)


def test_a_word_is_printed_as_it_was_set(queuectl: Queuectl) -> None:
    assert queuectl("config", "set", "on_crash", "dead") == Result(0, "dead\n", "")
    assert queuectl("config", "get", "on-crash") == Result(0, "dead\n", "")
    assert "on-crash              dead        what becomes" in queuectl.ok("config", "show").out
    assert queuectl("config", "unset", "on-crash") == Result(0, "adopt\n", "")


@pytest.mark.parametrize(
    "words", [("get", "max-retry"), ("set", "max-retry", "1"), ("unset", "max-retry")]
)
def test_an_unknown_key_is_refused_with_the_keys(
    words: tuple[str, ...], queuectl: Queuectl
) -> None:
    result = queuectl.error("config", *words)

    assert result.code == 2
    assert "max-retry: no such config key\nhint: did you mean max-retries? " in result.err
    assert all(key in result.err for key in DEFAULTS)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max-retries", "-1", "a whole number from 0 to 1000000"),
        ("max-retries", "1.5", "a whole number from 0 to 1000000"),
        ("max-retries", "many", "'many' is not a whole number"),
        ("max-retries", "", "'' is not a whole number"),
        ("backoff-base", "-1", "a number from 0 to 1000"),
        ("backoff-base", "nan", "a number from 0 to 1000"),
        ("backoff-base", "1001", "a number from 0 to 1000"),
        ("backoff-max", "-1", "from 0 to 315360000"),
        ("backoff-jitter", "1.1", "a number from 0 to 1"),
        ("timeout-sec", "soon", "or a duration such as 10m"),
        ("worker-poll-interval", "0", "from 0.05 to 3600"),
        ("priority", "99999999999", "from -2147483647 to 2147483647"),
        ("priority", "1e3", "a whole number"),
        ("on-crash", "restart", "on-crash: 'restart' is not one of adopt, kill, dead"),
        ("on-crash", "", "on-crash: '' is not one of adopt, kill, dead"),
        ("max-output-bytes", "-1", "from 0 to 9007199254740992"),
        ("max-output-bytes", "1GB", "of bytes, or a size such as 10M, from 0 to"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(
    key: str, value: str, said: str, queuectl: Queuectl
) -> None:
    result = queuectl.error("config", "set", key, value)

    assert result.code == 2
    assert said in result.err
    assert queuectl.json("config", "show") == DEFAULTS


def test_a_key_or_value_that_is_missing_is_refused(queuectl: Queuectl) -> None:
    assert queuectl.error("config", "get").code == 2
    assert queuectl.error("config", "set", "priority").code == 2
    assert queuectl.error("config", "set", "priority", "1", "2").code == 2
