import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.job_json import JobInput, parse_job, parse_jobs
from queuectl.engine.domain.models import OnCrash
from queuectl.engine.domain.spec import JobSpec
from queuectl.engine.errors import InvalidInputError, InvalidJobError
from tests.factories import make_spec

SIZE_FORMS = "(expected a number of bytes, or 512K, 10M, 1G, also as 10MiB)"
FIELDS = (
    "the fields are: command, id, priority, max_retries, backoff_base, base_backoff, timeout,"
    " timeout_sec, on_crash, max_output_bytes, run_at, delay, cwd, env, tags, state, attempts,"
    " created_at, updated_at"
)
QUOTES = (
    "JSON has double quotes around names and text; at a shell, put single quotes around the whole"
)
FORMS = "(expected a number of seconds, or 90s, 10m, 1h30m, 2d)"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(JobInput.__struct_fields__)
sound_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
job_objects = st.fixed_dictionaries(
    {"command": sound_text.filter(str.strip)},
    optional={
        "id": st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,9}", fullmatch=True),
        "priority": st.none() | st.integers(-2_147_483_647, 2_147_483_647),
        "max_retries": st.none() | st.integers(0, 1_000_000),
        "backoff_base": st.none() | st.floats(0, 1000),
        "timeout": st.none() | st.integers(0, 315_360_000),
        "on_crash": st.none() | st.sampled_from(["adopt", "kill", "dead"]),
        "max_output_bytes": st.none() | st.integers(0, 2**53),
        "run_at": st.none() | st.just("2026-11-21T09:00:00Z"),
        "delay": st.none() | st.integers(0, 315_360_000),
        "cwd": st.none() | sound_text,
        "env": st.none()
        | st.dictionaries(st.from_regex(r"[A-Za-z_]{1,3}", fullmatch=True), sound_text, max_size=3),
        "tags": st.none() | st.lists(st.text("ab\u00e9 -", min_size=1), max_size=3),
    },
).filter(lambda value: value.get("run_at") is None or value.get("delay") is None)
# No id may stand twice in one input, so jobs that are drawn together have none.
nameless_objects = job_objects.map(lambda value: value | {"id": None})
good_lines = nameless_objects.map(lambda value: json.dumps(value).encode())
bad_lines = st.sampled_from(
    [
        b"x",
        b"5",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'{"command":5}',
        b'{"commandd":"x"}',
        b'{"command":"x"} x',
        b'{"command":"x",}',
        b'{"command":"\xff"}',
        b'{"command":"x","timeout":"soon"}',
        b'{"command":"x","state":"dead"}',
        b'{"command":"x","on_crash":"restart"}',
        b'{"command":"x","max_output_bytes":-1}',
        b'{"command":" "}',
        b'{"command":"x","id":"a b"}',
        b'{"command":"x","run_at":"2026-11-21","delay":0}',
        b"\0",
    ]
)


def refusal(text: bytes) -> InvalidJobError:
    with pytest.raises(InvalidJobError) as caught:
        parse_job(text)

    return caught.value


def refusals(text: bytes) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        parse_jobs(text)

    return caught.value


def with_field(field: str, value: str) -> bytes:
    """Return a job with one more field, its value as written in JSON."""
    return f'{{"command":"x","{field}":{value}}}'.encode()


# One object


def test_a_command_is_enough() -> None:
    assert parse_job(b'{"command":"echo hi"}') == JobSpec(command="echo hi")


def test_every_field_is_read() -> None:
    text = b"""{
        "command": "make", "id": "job1", "priority": -5, "max_retries": 0, "backoff_base": 1.5,
        "timeout": 60, "on_crash": "kill", "max_output_bytes": 4096,
        "run_at": "2026-11-21T09:00:00Z", "cwd": "src", "env": {"A": "b"},
        "tags": ["x", "y"], "state": "pending", "attempts": 0,
        "created_at": "2025-11-04T10:30:00Z", "updated_at": "2025-11-04T10:30:00Z"
    }"""

    spec = parse_job(text)

    assert spec == JobSpec(
        command="make",
        id="job1",
        priority=-5,
        max_retries=0,
        backoff_base=1.5,
        timeout=timedelta(minutes=1),
        on_crash=OnCrash.KILL,
        max_output_bytes=4096,
        run_at=datetime(2026, 11, 21, 9, tzinfo=UTC),
        cwd="src",
        env={"A": "b"},
        tags=("x", "y"),
    )


def test_a_size_may_be_text() -> None:
    spec = parse_job(b'{"command": "x", "max_output_bytes": "10 MiB"}')

    assert spec.max_output_bytes == 10_485_760


@pytest.mark.parametrize("field", sorted({*JobInput.__struct_fields__} - {"command"}))
def test_null_says_nothing(field: str) -> None:
    assert parse_job(with_field(field, "null")) == JobSpec(command="x")


@pytest.mark.parametrize(
    ("field", "value", "seconds"),
    [
        ("timeout", "60", 60),
        ("timeout", "0.5", 0.5),
        ("timeout", '"60"', 60),
        ("timeout", '"1h30m"', 5400),
        ("timeout", "0", 0),
        ("timeout_sec", "60", 60),
        ("timeout_sec", '"10m"', 600),
    ],
)
def test_a_timeout_is_seconds_or_a_duration_under_two_names(
    field: str, value: str, seconds: float
) -> None:
    assert parse_job(with_field(field, value)).timeout == timedelta(seconds=seconds)


@pytest.mark.parametrize(("value", "seconds"), [("90", 90), ('"90s"', 90), ('"2d"', 172_800)])
def test_a_delay_is_seconds_or_a_duration(value: str, seconds: float) -> None:
    assert parse_job(with_field("delay", value)).delay == timedelta(seconds=seconds)


@pytest.mark.parametrize("field", ["backoff_base", "base_backoff"])
def test_the_backoff_base_has_two_names(field: str) -> None:
    assert parse_job(with_field(field, "3")).backoff_base == 3


@pytest.mark.parametrize(
    "pair",
    [
        '"timeout":60,"timeout_sec":60',
        '"timeout":60,"timeout_sec":60.0',
        '"timeout":60,"timeout_sec":null',
        '"timeout":null,"timeout_sec":60',
        '"timeout":60,"timeout_sec":"60"',
        '"timeout":"1m","timeout_sec":60',
    ],
)
def test_two_names_may_say_the_same(pair: str) -> None:
    spec = parse_job(f'{{"command":"x",{pair}}}'.encode())

    assert spec.timeout == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("pair", "field"),
    [
        ('"timeout":60,"timeout_sec":61', "timeout"),
        ('"timeout":"1m","timeout_sec":"2m"', "timeout"),
        ('"timeout":0,"timeout_sec":60', "timeout"),
        ('"backoff_base":2,"base_backoff":3', "backoff_base"),
    ],
)
def test_two_names_with_two_values_are_refused(pair: str, field: str) -> None:
    error = refusal(f'{{"command":"x",{pair}}}'.encode())

    assert str(error) == f"{field}: given twice under two names, with two values"


@given(job_objects)
def test_an_object_is_read_as_it_was_written(written: dict[str, Any]) -> None:
    spec = parse_job(json.dumps(written).encode())

    assert spec == spec_of(written)


def spec_of(written: dict[str, Any]) -> JobSpec:
    """Return what an object of `job_objects` asks for, by another road."""
    said = {name: value for name, value in written.items() if value is not None}
    said |= {name: timedelta(seconds=said[name]) for name in {"timeout", "delay"} & {*said}}

    if "run_at" in said:
        said["run_at"] = datetime(2026, 11, 21, 9, tzinfo=UTC)

    if "on_crash" in said:
        said["on_crash"] = OnCrash(said["on_crash"])

    if "tags" in said:
        said["tags"] = tuple(said["tags"])

    return JobSpec(**said)


@pytest.mark.parametrize("choice", OnCrash)
def test_what_becomes_of_a_run_whose_worker_died_is_one_of_three_words(choice: OnCrash) -> None:
    spec = parse_job(with_field("on_crash", f'"{choice}"'))

    assert spec.on_crash is choice


# Malformed JSON


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (b'{"command":}', "line 1, column 12", "invalid character"),
        (b'{"command":"x",}', "line 1, column 16", "trailing comma in object"),
        (b'{"command":"x","tags":["a",]}', "line 1, column 28", "trailing comma in array"),
        (b'{"command" "x"}', "line 1, column 12", "expected ':'"),
        (b'{"command":"x" "id":"y"}', "line 1, column 16", "expected ',' or '}'"),
        (b'{"command":"x","backoff_base":NaN}', "line 1, column 31", "invalid character"),
        (b'{"command":"a\tb"}', "line 1, column 14", "invalid character"),
        (b'{"command":"a\0b"}', "line 1, column 14", "invalid character"),
        (b'{\n  "command": "x",\n  "priority": }', "line 3, column 15", "invalid character"),
        (b'{\r\n  "command": x\r\n}', "line 2, column 14", "invalid character"),
        ('{"command":"\u00e9", x}'.encode(), "line 1, column 17", "object keys must be strings"),
        (b'{"command":"x"} y', "line 1, column 17", "trailing characters"),
        (b'{"command":"x"}{"command":"y"}', "line 1, column 16", "trailing characters"),
        (b'{"command":"a\\qb"}', "line 1, column 15", "invalid escape character in string"),
        (b'{"command":"a\\u00zz"}', "line 1, column 18", "invalid character in unicode escape"),
        (b'{"command":"x","id":nul}', "line 1, column 24", "invalid character"),
        (b'{"command":"x","tags":[nul]}', "line 1, column 27", "invalid character"),
        (b'{"command":"x","env":{"A":"\x01"}}', "line 1, column 28", "invalid character"),
        (b'{"command":"x","priority":1x}', "line 1, column 28", "expected ',' or '}'"),
        (b"{", "line 1, column 2", "the text ends too early"),
        (b'{"command":"x"', "line 1, column 15", "the text ends too early"),
        (b'{\n  "command": "x",\n', "line 3, column 1", "the text ends too early"),
    ],
    ids=ascii,
)
def test_malformed_json_is_refused_with_line_and_column(
    text: bytes, place: str, problem: str
) -> None:
    error = refusal(text)

    assert str(error) == f"malformed JSON at {place}: {problem}"


@pytest.mark.parametrize("text", [b"", b"  ", b"\n"], ids=ascii)
def test_an_empty_text_is_refused_as_that(text: bytes) -> None:
    assert str(refusal(text)) == "no JSON object given: the text is empty"


@pytest.mark.parametrize(
    "text", [b"{command:x}", b"{'command':'x'}", b'{"command":echo hi}', b"echo hi"], ids=ascii
)
def test_quotes_that_are_missing_or_eaten_by_a_shell_are_hinted_at(text: bytes) -> None:
    error = refusal(text)

    assert str(error).startswith("malformed JSON at line 1, column ")
    assert error.hint == QUOTES


@pytest.mark.parametrize(
    ("text", "byte"),
    [
        (b'{"command":"\xff"}', 13),
        (b'{"command":"x","id":"\xc3"}', 22),
        (b'{"command":"\xc3\xa9\xed\xa0\x80"}', 15),
    ],
    ids=ascii,
)
def test_text_that_is_not_utf_8_is_refused_with_the_byte(text: bytes, byte: int) -> None:
    assert str(refusal(text)) == f"not UTF-8 (byte {byte})"


@pytest.mark.parametrize("escape", [r"\ud800", r"\ud800b", r"\udc00", r"\ud800\u0041"])
def test_half_a_surrogate_pair_is_not_called_a_text_that_ends(escape: str) -> None:
    error = refusal(f'{{"command":"{escape}"}}'.encode())

    assert "surrogate" in str(error)


def test_a_backslash_before_what_looks_like_half_a_pair_is_just_a_backslash() -> None:
    error = refusal(rb'{"command":"C:\\ud800')

    assert str(error) == "malformed JSON at line 1, column 22: the text ends too early"


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\n[" * 100_000], ids=["line", "lines"])
def test_a_text_nested_without_end_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_jobs(text)

    assert str(caught.value) == "nested too deeply"


# Fields


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("commandd", "command"),
        ("Command", "command"),
        ("cmd", "command"),
        ("args", "command"),
        ("prioritee", "priority"),
        ("maxRetries", "max_retries"),
        ("retries", "max_retries"),
        ("max-retries", "max_retries"),
        ("timeoutSec", "timeout_sec"),
        ("runAt", "run_at"),
        ("name", "id"),
        ("tag", "tags"),
        ("onCrash", "on_crash"),
        ("on-crash", "on_crash"),
        ("maxOutputBytes", "max_output_bytes"),
        ("max_output", "max_output_bytes"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(name: str, near: str) -> None:
    error = refusal(with_field(name, "1"))

    assert str(error) == f"unknown field {name!r}, did you mean {near!r}?"


@pytest.mark.parametrize("name", ["", "zzz", "exit_code", "\u00e9", "a`b"])
def test_an_unknown_field_like_no_other_is_refused_with_the_fields(name: str) -> None:
    error = refusal(with_field(name, "1"))

    assert (str(error), error.hint) == (f"unknown field {name!r}", FIELDS)


@pytest.mark.parametrize("name", [r"a\nb", r"\u001b[31m", r"\u001b[31m\n"])
def test_an_unknown_field_is_shown_escaped(name: str) -> None:
    error = refusal(with_field(name, "1"))

    assert str(error).isprintable()


def test_the_refusal_of_a_long_field_name_is_short() -> None:
    error = refusal(with_field("x" * 5000, "1"))

    assert len(str(error)) < 300


@pytest.mark.parametrize("text", [b"{}", b'{"id":"job1"}'], ids=ascii)
def test_a_job_without_a_command_is_refused(text: bytes) -> None:
    error = refusal(text)

    assert (str(error), error.field) == ("command: is missing", "command")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"null", "expected an object, got null"),
        (b"5", "expected an object, got a whole number"),
        (b'"echo hi"', "expected an object, got text"),
        (b"[]", "expected an object, got an array"),
        (b"true", "expected an object, got true or false"),
        (b'{"command":5}', "command: expected text, got a whole number"),
        (b'{"command":null}', "command: expected text, got null"),
        (b'{"command":["echo","hi"]}', "command: expected text, got an array"),
        (with_field("id", "5"), "id: expected text, got a whole number"),
        (with_field("priority", '"5"'), "priority: expected a whole number, got text"),
        (with_field("priority", "1.5"), "priority: expected a whole number, got a decimal number"),
        (with_field("priority", "true"), "priority: expected a whole number, got true or false"),
        (with_field("max_retries", '"3"'), "max_retries: expected a whole number, got text"),
        (with_field("base_backoff", '"2"'), "base_backoff: expected a number, got text"),
        (with_field("timeout", "[]"), "timeout: expected a number or text, got an array"),
        (with_field("timeout", "true"), "timeout: expected a number or text, got true or false"),
        (with_field("on_crash", "5"), "on_crash: expected text, got a whole number"),
        (with_field("on_crash", "true"), "on_crash: expected text, got true or false"),
        (
            with_field("max_output_bytes", '"1 GB"'),
            f"max_output_bytes: not a size: '1 GB' {SIZE_FORMS}",
        ),
        (
            with_field("max_output_bytes", '"-1"'),
            "max_output_bytes: out of range: '-1' (expected 0 to 9007199254740992 bytes)",
        ),
        (
            with_field("max_output_bytes", "0.5"),
            "max_output_bytes: expected a whole number or text, got a decimal number",
        ),
        (with_field("run_at", "5"), "run_at: expected text, got a whole number"),
        (with_field("env", "[]"), "env: expected an object, got an array"),
        (with_field("env", '{"A":1}'), "env: expected text for every variable, got a whole number"),
        (with_field("tags", '"a"'), "tags: expected an array, got text"),
        (with_field("tags", '["a",1]'), "tags[1]: expected text, got a whole number"),
        (with_field("timeout", "1e400"), "timeout: out of range"),
        (with_field("priority", "9" * 5000), "priority: out of range"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_value_of_the_wrong_type_is_refused_in_words_of_json(text: bytes, problem: str) -> None:
    assert str(refusal(text)) == problem


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("timeout", '"abc"', f"not a duration: 'abc' {FORMS}"),
        ("timeout_sec", '"abc"', f"not a duration: 'abc' {FORMS}"),
        ("delay", '"-5"', f"not a duration: '-5' {FORMS}"),
        ("timeout", "-5", "out of range: -5 s (expected 0 s to 3650 days)"),
        ("timeout_sec", "-5", "out of range: -5 s (expected 0 s to 3650 days)"),
        ("delay", "-0.5", "out of range: -0.5 s (expected 0 s to 3650 days)"),
        (
            "run_at",
            '"tomorrow"',
            "not a time: 'tomorrow' (expected RFC 3339, as in 2026-11-21T09:00:00Z)",
        ),
        (
            "run_at",
            '"0001-01-01"',
            "out of range: 0001-01-01T00:00:00 (expected 1971 to 9998)",
        ),
        ("on_crash", '"restart"', "not allowed: 'restart' (one of adopt, kill, dead)"),
        ("on_crash", '"Adopt"', "not allowed: 'Adopt' (one of adopt, kill, dead)"),
        ("on_crash", '""', "not allowed: '' (one of adopt, kill, dead)"),
        ("state", '"dead"', "a new job is pending, not 'dead'"),
        ("state", '"completed"', "a new job is pending, not 'completed'"),
        ("attempts", "2", "a new job has 0 attempts"),
        ("attempts", "-1", "a new job has 0 attempts"),
        ("base_backoff", "-1", "out of range: -1 (expected 0 to 1000)"),
        ("base_backoff", "1000000", "out of range: 1000000 (expected 0 to 1000)"),
        (
            "created_at",
            '"today"',
            "not a time: 'today' (expected RFC 3339, as in 2026-11-21T09:00:00Z)",
        ),
        (
            "updated_at",
            '"9999-01-01T00:00:00Z"',
            "out of range: 9999-01-01T00:00:00+00:00 (expected 1971 to 9998)",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_it_came_under(
    field: str, value: str, problem: str
) -> None:
    error = refusal(with_field(field, value))

    assert (str(error), error.field) == (f"{field}: {problem}", field)


@given(st.binary() | st.binary().map(lambda tail: b'{"command":"' + tail + b'"}'))
def test_no_bytes_break_the_reader(text: bytes) -> None:
    try:
        specs = parse_jobs(text)
    except (InvalidJobError, InvalidInputError) as error:
        assert str(error)  # noqa: PT017 (both ends are right)
    else:
        assert all(isinstance(spec, JobSpec) for spec in specs)


@given(job_objects, st.integers(0, 200), st.binary(max_size=3), st.integers(0, 3))
def test_no_damage_to_a_good_object_breaks_the_reader(
    good: dict[str, Any], place: int, junk: bytes, cut: int
) -> None:
    text = json.dumps(good).encode()
    damaged = text[:place] + junk + text[place + cut :]

    try:
        spec = parse_job(damaged)
    except InvalidJobError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(spec, JobSpec)


@given(field_names, json_values)
def test_no_value_in_a_field_breaks_the_reader(field: str, value: object) -> None:
    text = json.dumps({"command": "x", field: value}).encode()

    try:
        spec = parse_job(text)
    except InvalidJobError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(spec, JobSpec)


# Several


@pytest.mark.parametrize("text", [b"", b"  \n\n", b"[]", b" [ ]\n", b"\xef\xbb\xbf"], ids=ascii)
def test_an_input_without_jobs_is_empty(text: bytes) -> None:
    assert parse_jobs(text) == []


@pytest.mark.parametrize(
    "text",
    [
        b'{"command":"a"}\n{"command":"b"}',
        b'{"command":"a"}\n{"command":"b"}\n',
        b'{"command":"a"}\r\n{"command":"b"}\r\n',
        b'\n{"command":"a"}\n\n  {"command":"b"}  \n\n',
        b'\xef\xbb\xbf{"command":"a"}\n{"command":"b"}',
        b'[{"command":"a"},{"command":"b"}]',
        b'[\n  {"command":"a"},\n  {\n    "command":"b"\n  }\n]\n',
        b'\xef\xbb\xbf\n[{"command":"a"},{"command":"b"}]',
    ],
    ids=ascii,
)
def test_jobs_are_read_from_lines_and_from_an_array(text: bytes) -> None:
    assert parse_jobs(text) == [JobSpec(command="a"), JobSpec(command="b")]


@pytest.mark.parametrize(
    "text",
    [
        b'{"command":"a","env":{"A":"b"}}',
        b'\n\n{"command":"a","env":{"A":"b"}}\n\n',
        b'{\n"command":"a",\n"env":{"A":"b"}\n}',
        b'{\n  "command": "a",\n  "env": {\n    "A": "b"\n  }\n}\n',
        b'{\r\n  "command": "a",\r\n  "env": {"A": "b"}\r\n}\r\n',
        b'{\n"command": "a",\n"env":\n{"A": "b"}\n}\n',
        b'{"command": "a",\n"env":\n{\n"A": "b"\n}\n}\n',
    ],
    ids=ascii,
)
def test_one_object_may_be_spread_over_lines(text: bytes) -> None:
    assert parse_jobs(text) == [make_spec(command="a", env={"A": "b"})]


def test_one_bad_object_is_not_called_an_input_of_many() -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_jobs(b'\n\n{"commandd":"x"}\n')

    assert str(caught.value) == "unknown field 'commandd', did you mean 'command'?"


def test_one_malformed_object_is_placed_in_the_whole_input() -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_jobs(b'\n\n{"command": x}\n')

    assert str(caught.value) == "malformed JSON at line 3, column 13: invalid character"


def test_a_malformed_array_is_placed_in_the_whole_input() -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_jobs(b'[\n{"command":"x"},\n{"command":}\n]')

    assert str(caught.value) == "malformed JSON at line 3, column 12: invalid character"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{\n"command": "a",\n"env":\n{"A": "b"},\n}\n', "line 5, column 1"),
        (b'{"command": "a",\n"env": {\n"A": b}\n', "line 3, column 6"),
        (b'{"command": "a"\n"id": "b"}\n', "line 2, column 1"),
    ],
    ids=ascii,
)
def test_a_malformed_object_over_lines_is_one_and_placed_in_the_whole(
    text: bytes, place: str
) -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_jobs(text)

    assert str(caught.value).startswith(f"malformed JSON at {place}: ")


@pytest.mark.parametrize(
    "first", [b"{command:a}", b'{"command":"a"', b'  {"command":"a",}', b"{", b'{"command":a}']
)
def test_a_malformed_first_line_is_named_as_a_line(first: bytes) -> None:
    error = refusals(first + b'\n{"command":"b"}\n{"command":"c"}\n')

    assert [place for place, _ in error.problems] == [1]


def test_every_bad_line_is_named_by_its_number_in_the_file() -> None:
    error = refusals(b'{"command":"a"}\n\n{"commandd":"b"}\n{"command":"c"}\n\n5\n')

    assert [place for place, _ in error.problems] == [3, 6]
    assert str(error).splitlines()[:2] == [
        "nothing was enqueued: 2 bad lines",
        "  line 3: unknown field 'commandd', did you mean 'command'?",
    ]


def test_every_bad_element_is_named_by_its_place() -> None:
    error = refusals(b'[{"command":"a"},\n{},\n{"command":"b"}, {"command":"c","prio":1}]')

    assert error.problems == [
        (2, "command: is missing"),
        (4, "unknown field 'prio', did you mean 'priority'?"),
    ]


def test_a_malformed_line_has_one_line_number() -> None:
    error = refusals(b'{"command":"a"}\n{"command":b}\n')

    assert error.problems == [(2, "malformed JSON at column 12: invalid character")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"command":""}',
        b'{"command":"a\\u0000"}',
        b'{"command":"a","id":"no spaces"}',
        b'{"command":"a","max_retries":-1}',
        b'{"command":"a","max_output_bytes":-1}',
        b'{"command":"a","max_output_bytes":9007199254740993}',
        b'{"command":"a","on_crash":"restart"}',
        b'{"command":"a","priority":99999999999}',
        b'{"command":"a","run_at":"2026-11-21","delay":5}',
        b'{"command":"a","env":{"A=B":"c"}}',
        b'{"command":"a","tags":[""]}',
    ],
    ids=ascii,
)
def test_a_line_that_breaks_a_rule_is_named_with_the_malformed_ones(line: bytes) -> None:
    # Else whoever mends the malformed lines meets a second refusal, and that without numbers.
    error = refusals(b'{"command":"a"}\n\n' + line + b"\n{\n")

    assert [place for place, _ in error.problems] == [3, 4]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (b'{"command":"a","id":"x"}\n{"command":"b"}\n{"command":"c","id":"x"}\n', "line"),
        (b'[{"command":"a","id":"x"},{"command":"b"},{"command":"c","id":"x"}]', "element"),
    ],
    ids=["lines", "array"],
)
def test_an_id_that_stands_twice_is_named_with_both_places(text: bytes, unit: str) -> None:
    error = refusals(text)

    assert error.problems == [(3, f"id: x is the id of {unit} 1 already")]


def test_every_repetition_of_an_id_is_named_by_the_first() -> None:
    lines = [b'{"command":"a","id":"x"}', b"{", *[b'{"command":"b","id":"x"}'] * 2]

    error = refusals(b"\n".join(lines))

    assert [place for place, _ in error.problems] == [2, 3, 4]
    assert {text for _, text in error.problems[1:]} == {"id: x is the id of line 1 already"}


def test_an_input_of_many_keeps_every_hint_once() -> None:
    error = refusals(b'{command:a}\n{"command":"b","zzz":1}\n{command:c}\n{"command":"d"}')

    assert error.hint == f"{QUOTES}; {FIELDS}"


def test_an_input_of_many_without_hints_has_none() -> None:
    assert refusals(b"{}\n{}").hint is None


@given(st.lists(good_lines | bad_lines | st.sampled_from([b"", b"  "]), max_size=8))
def test_every_bad_line_is_named_and_no_good_one(middle: list[bytes]) -> None:
    # A good line first and a bad one last make it an input of lines, whatever is between.
    lines = [b'{"command":"first"}', *middle, b"last"]
    good = [number for number, line in enumerate(lines, 1) if is_good(line)]
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]

    error = refusals(b"\n".join(lines))

    named = [place for place, _ in error.problems]
    assert sorted([*named, *good, *blank]) == list(range(1, len(lines) + 1))


def is_good(line: bytes) -> bool:
    try:
        parse_job(line)
    except InvalidJobError:
        return False

    return True


@given(st.lists(nameless_objects, min_size=2, max_size=5))
def test_lines_and_arrays_say_the_same(objects: list[dict[str, Any]]) -> None:
    lines = "\n".join(json.dumps(each) for each in objects).encode()
    array = json.dumps(objects, indent=2).encode()

    assert parse_jobs(lines) == parse_jobs(array)
    assert parse_jobs(lines) == [parse_job(json.dumps(each).encode()) for each in objects]


@given(job_objects, st.sampled_from([None, 0, 1, 4]))
def test_an_object_is_the_same_in_every_layout(good: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(good, indent=indent).encode()

    assert parse_jobs(text) == [parse_job(json.dumps(good).encode())]
