import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from queuectl.engine.domain.models import NewJob, OnCrash
from queuectl.engine.domain.spec import JobSpec, resolve
from queuectl.engine.domain.spec_rules import check_id, check_on_crash, check_reason
from queuectl.engine.errors import InvalidJobError
from tests.factories import NOW, make_settings, make_spec

ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
ID_RULE = "(a letter or digit, then up to 127 of A-Z a-z 0-9 . _ : -)"
KIB_120 = 122_880
HERE = "/home/user"

offsets = st.builds(
    timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
)
any_text = st.text() | st.sampled_from(["", " ", "\0", "a\0b", "\ud800", "x\udfffy", "\n"])
specs = st.builds(
    JobSpec,
    command=any_text,
    id=st.none() | any_text | st.from_regex(ID, fullmatch=True),
    priority=st.none() | st.integers() | st.integers(-5, 5),
    max_retries=st.none() | st.integers() | st.integers(0, 5),
    backoff_base=st.none() | st.floats() | st.integers(-5, 5),
    timeout=st.none() | st.timedeltas() | st.timedeltas(timedelta(), timedelta(days=1)),
    on_crash=st.none() | st.sampled_from([*OnCrash, "adopt", "kill", "dead"]) | any_text,
    max_output_bytes=st.none() | st.integers() | st.integers(0, 5),
    run_at=st.none() | st.datetimes(timezones=st.none() | offsets),
    delay=st.none() | st.timedeltas() | st.timedeltas(timedelta(), timedelta(days=1)),
    cwd=st.none() | any_text,
    env=st.none() | st.dictionaries(any_text | st.from_regex(r"[A-Z_]+", fullmatch=True), any_text),
    tags=st.lists(any_text, max_size=5).map(tuple),
)


def resolved(spec: JobSpec, *, here: str = HERE) -> NewJob:
    return resolve(spec, make_settings(), now=NOW, made_id="made-1", here=here)


def refusal(spec: JobSpec) -> InvalidJobError:
    with pytest.raises(InvalidJobError) as caught:
        resolved(spec)

    return caught.value


def test_what_was_not_said_comes_from_the_config() -> None:
    settings = make_settings(
        priority=7,
        max_retries=5,
        timeout_sec=90,
        backoff_base=9,
        on_crash="dead",
        max_output_bytes=512,
    )

    job = resolve(JobSpec(command="echo hi"), settings, now=NOW, made_id="made-1", here=HERE)

    assert job == NewJob(
        id="made-1",
        command="echo hi",
        priority=7,
        max_retries=5,
        backoff_base=None,
        timeout=timedelta(seconds=90),
        on_crash=OnCrash.DEAD,
        max_output_bytes=512,
        run_at=NOW,
        is_due=True,
        created_at=NOW,
        cwd=HERE,
        env={},
        tags=(),
    )


def test_what_was_said_is_kept() -> None:
    spec = JobSpec(
        command="make",
        id="build:1",
        priority=-3,
        max_retries=1,
        backoff_base=1.5,
        timeout=timedelta(minutes=1),
        on_crash=OnCrash.KILL,
        max_output_bytes=4096,
        run_at=NOW + timedelta(days=1),
        cwd="/srv",
        env={"A": "b"},
        tags=("x", "y"),
    )

    job = resolved(spec)

    assert job == NewJob(
        id="build:1",
        command="make",
        priority=-3,
        max_retries=1,
        backoff_base=1.5,
        timeout=timedelta(minutes=1),
        on_crash=OnCrash.KILL,
        max_output_bytes=4096,
        run_at=NOW + timedelta(days=1),
        is_due=False,
        created_at=NOW,
        cwd="/srv",
        env={"A": "b"},
        tags=("x", "y"),
    )


def test_zero_is_something_said() -> None:
    spec = make_spec(
        priority=0, max_retries=0, backoff_base=0, timeout=timedelta(), max_output_bytes=0
    )

    job = resolved(spec)

    assert (job.priority, job.max_retries, job.backoff_base) == (0, 0, 0)
    assert (job.timeout, job.max_output_bytes) == (None, None)


def test_a_config_without_a_timeout_gives_none() -> None:
    settings = make_settings(timeout_sec=0)

    job = resolve(make_spec(), settings, now=NOW, made_id="made-1", here=HERE)

    assert job.timeout is None


def test_a_config_without_an_output_limit_gives_none() -> None:
    settings = make_settings(max_output_bytes=0)

    job = resolve(make_spec(), settings, now=NOW, made_id="made-1", here=HERE)

    assert job.max_output_bytes is None


# Commands


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("x" * KIB_120, id="120 KiB of ASCII"),
        pytest.param("\u00e9" * (KIB_120 // 2), id="120 KiB of two-byte letters"),
        pytest.param("\U0001f600" * (KIB_120 // 4), id="120 KiB of four-byte letters"),
        pytest.param("  echo hi  \n", id="spaces around"),
        pytest.param("echo 1\necho 2", id="two lines"),
    ],
)
def test_a_command_of_up_to_120_kib_is_kept_as_it_is(command: str) -> None:
    assert resolved(make_spec(command=command)).command == command


@pytest.mark.parametrize(
    ("command", "size"),
    [
        pytest.param("x" * (KIB_120 + 1), KIB_120 + 1, id="ASCII"),
        pytest.param("\u00e9" * (KIB_120 // 2) + "x", KIB_120 + 1, id="two-byte letters"),
        pytest.param("\U0001f600" * (KIB_120 // 4 + 1), KIB_120 + 4, id="four-byte letters"),
    ],
)
def test_a_longer_command_is_refused_with_its_size_and_a_way_out(command: str, size: int) -> None:
    error = refusal(make_spec(command=command))

    assert str(error) == f"command: too long: {size} bytes (at most 122880)"
    assert error.hint == "put it into a script file and enqueue a call of that"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        pytest.param("", "command: is empty", id="nothing"),
        pytest.param(" \t\n", "command: is empty", id="blanks"),
        pytest.param("\0", "command: holds a NUL character", id="NUL alone"),
        pytest.param("echo\0hi", "command: holds a NUL character", id="NUL"),
        pytest.param(
            "echo \ud800",
            "command: is not valid Unicode (a lone surrogate)",
            id="lone surrogate",
        ),
    ],
)
def test_a_command_that_no_shell_can_run_is_refused(command: str, problem: str) -> None:
    error = refusal(make_spec(command=command))

    assert (str(error), error.field) == (problem, "command")


# Ids


@given(st.from_regex(ID, fullmatch=True))
def test_every_id_of_the_rule_is_taken(text: str) -> None:
    assert check_id(text) == text


@given(st.text() | st.text("aZ9._:-/ \n\u00e9\u0663", max_size=5))
@example("a\n")
@example("a" * 128)
@example("a" * 129)
def test_an_id_is_taken_exactly_when_it_matches_the_rule(text: str) -> None:
    matches = re.fullmatch(ID, text, re.ASCII) is not None

    try:
        taken = check_id(text) == text
    except InvalidJobError:
        taken = False

    assert taken == matches


@pytest.mark.parametrize(
    "text",
    ["", "-a", ".a", "_a", "a b", "a/b", "../a", "a\n", "\u00e9", "a\x1b[31m", "a,b"],
    ids=ascii,
)
def test_a_bad_id_is_refused_with_the_rule(text: str) -> None:
    error = refusal(make_spec(id=text))

    assert str(error) == f"id: not allowed: {text!r} {ID_RULE}"
    assert error.field == "id"


def test_the_refusal_of_a_long_id_is_short() -> None:
    error = refusal(make_spec(id="a" * 100_000))

    assert len(str(error)) < 300


# Numbers


@pytest.mark.parametrize("priority", [-2_147_483_647, 0, 2_147_483_647])
def test_a_priority_is_taken_up_to_the_edges(priority: int) -> None:
    assert resolved(make_spec(priority=priority)).priority == priority


@pytest.mark.parametrize("priority", [-2_147_483_648, 2_147_483_648, 10**30])
def test_a_priority_beyond_the_edges_is_refused(priority: int) -> None:
    error = refusal(make_spec(priority=priority))

    expected = f"priority: out of range: {priority} (expected -2147483647 to 2147483647)"
    assert str(error) == expected


@pytest.mark.parametrize("retries", [0, 1, 1_000_000])
def test_retries_are_taken_up_to_the_edges(retries: int) -> None:
    assert resolved(make_spec(max_retries=retries)).max_retries == retries


@pytest.mark.parametrize("retries", [-1, 1_000_001])
def test_negative_and_endless_retries_are_refused(retries: int) -> None:
    error = refusal(make_spec(max_retries=retries))

    assert str(error) == f"max_retries: out of range: {retries} (expected 0 to 1000000)"


@pytest.mark.parametrize("base", [0, 0.5, 2, 1000])
def test_a_backoff_base_is_taken_up_to_the_edges(base: float) -> None:
    assert resolved(make_spec(backoff_base=base)).backoff_base == base


@pytest.mark.parametrize("base", [-1, -0.001, 1000.5, float("nan"), float("inf"), float("-inf")])
def test_a_backoff_base_beyond_the_edges_is_refused(base: float) -> None:
    error = refusal(make_spec(backoff_base=base))

    assert str(error) == f"backoff_base: out of range: {base:g} (expected 0 to 1000)"


@pytest.mark.parametrize("size", [1, 2**53])
def test_an_output_limit_is_taken_up_to_the_edges(size: int) -> None:
    assert resolved(make_spec(max_output_bytes=size)).max_output_bytes == size


@pytest.mark.parametrize("size", [-1, 2**53 + 1])
def test_an_output_limit_beyond_the_edges_is_refused(size: int) -> None:
    error = refusal(make_spec(max_output_bytes=size))

    expected = f"max_output_bytes: out of range: {size} (expected 0 to 9007199254740992)"
    assert str(error) == expected


@pytest.mark.parametrize("field", ["priority", "max_retries", "backoff_base", "max_output_bytes"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_many_digits_is_refused_shortly(field: str, digits: int) -> None:
    fields: Any = {field: 10**digits}

    error = refusal(make_spec(**fields))

    assert error.field == field
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("timeout", "problem"),
    [
        (timedelta(seconds=-1), "timeout: out of range: -1 s (expected 0 s to 3650 days)"),
        (timedelta(days=3651), "timeout: out of range: 315446400 s (expected 0 s to 3650 days)"),
    ],
)
def test_a_timeout_out_of_range_is_refused(timeout: timedelta, problem: str) -> None:
    assert str(refusal(make_spec(timeout=timeout))) == problem


# Crashes


@pytest.mark.parametrize("choice", OnCrash)
def test_what_becomes_of_a_run_whose_worker_died_is_a_choice_or_its_word(choice: OnCrash) -> None:
    by_word = resolved(JobSpec(command="true", on_crash=choice.value))

    assert by_word.on_crash is resolved(make_spec(on_crash=choice)).on_crash is choice
    assert check_on_crash(choice.value) is check_on_crash(choice) is choice


@pytest.mark.parametrize(
    "word", ["", "ADOPT", " adopt", "restart", "adopt,kill", "\ud800"], ids=ascii
)
def test_another_word_is_refused_with_the_choices(word: str) -> None:
    error = refusal(JobSpec(command="true", on_crash=word))

    assert str(error) == f"on_crash: not allowed: {word!r} (one of adopt, kill, dead)"
    assert error.field == "on_crash"


# Times


@pytest.mark.parametrize(
    ("run_at", "is_due"),
    [
        (NOW - timedelta(days=400), True),
        (NOW, True),
        (NOW + timedelta(microseconds=1), False),
        (NOW + timedelta(days=3650), False),
    ],
)
def test_a_job_is_due_when_its_time_has_come(run_at: datetime, *, is_due: bool) -> None:
    job = resolved(make_spec(run_at=run_at))

    assert (job.run_at, job.is_due) == (run_at, is_due)


def test_a_time_in_another_zone_is_kept_in_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))

    job = resolved(make_spec(run_at=datetime(2026, 11, 22, 9, 0, tzinfo=zone)))

    assert job.run_at == datetime(2026, 11, 22, 3, 30, tzinfo=UTC)
    assert job.run_at.tzinfo is UTC


@pytest.mark.parametrize("delay", [timedelta(), timedelta(seconds=90), timedelta(days=3650)])
def test_a_delay_counts_from_now(delay: timedelta) -> None:
    job = resolved(make_spec(delay=delay))

    assert (job.run_at, job.is_due) == (NOW + delay, not delay)


@pytest.mark.parametrize(
    ("delay", "problem"),
    [
        (timedelta(seconds=-1), "delay: out of range: -1 s (expected 0 s to 3650 days)"),
        (timedelta(days=3651), "delay: out of range: 315446400 s (expected 0 s to 3650 days)"),
    ],
)
def test_a_delay_out_of_range_is_refused(delay: timedelta, problem: str) -> None:
    assert str(refusal(make_spec(delay=delay))) == problem


def test_a_time_and_a_delay_together_are_refused() -> None:
    error = refusal(make_spec(run_at=NOW, delay=timedelta()))

    assert str(error) == "delay: give run_at or delay, not both"


def test_a_time_out_of_range_is_refused_by_its_field() -> None:
    error = refusal(make_spec(run_at=datetime(9999, 1, 1, tzinfo=UTC)))

    expected = "run_at: out of range: 9999-01-01T00:00:00+00:00 (expected 1971 to 9998)"
    assert (str(error), error.field) == (expected, "run_at")


# Folders, variables, tags


@pytest.mark.parametrize(
    ("cwd", "folder"),
    [
        ("/srv/app", "/srv/app"),
        ("app", "/home/user/app"),
        (".", "/home/user"),
        ("", "/home/user"),
        ("./a/../b/", "/home/user/b"),
        ("..", "/home"),
        ("../../../..", "/"),
        ("~", "/home/user/~"),
    ],
)
def test_a_folder_is_taken_from_where_the_caller_is(cwd: str, folder: str) -> None:
    assert resolved(make_spec(cwd=cwd)).cwd == folder


@pytest.mark.parametrize(
    ("cwd", "problem"),
    [
        pytest.param("a\0b", "cwd: holds a NUL character", id="NUL"),
        pytest.param("\udcff", "cwd: is not valid Unicode (a lone surrogate)", id="surrogate"),
    ],
)
def test_a_folder_that_is_not_text_is_refused(cwd: str, problem: str) -> None:
    assert str(refusal(make_spec(cwd=cwd))) == problem


@pytest.mark.parametrize("cwd", [None, "sub"])
def test_a_caller_in_a_folder_that_is_not_text_is_refused_as_well(cwd: str | None) -> None:
    # os.getcwd() gives lone surrogates where a name is not UTF-8; no database takes them.
    with pytest.raises(InvalidJobError) as caught:
        resolved(make_spec(cwd=cwd), here="/home/user/\udcff")

    assert str(caught.value) == "cwd: is not valid Unicode (a lone surrogate)"


@pytest.mark.parametrize("name", ["A", "_", "path_2", "QUEUECTL", "QUEUECTLX"])
def test_a_variable_is_kept_by_its_name(name: str) -> None:
    assert resolved(make_spec(env={name: ""})).env == {name: ""}


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        pytest.param({"": "x"}, "env: not a variable's name: ''", id="no name"),
        pytest.param({"1A": "x"}, "env: not a variable's name: '1A'", id="digit first"),
        pytest.param({"A=B": "x"}, "env: not a variable's name: 'A=B'", id="equals sign"),
        pytest.param({"A B": "x"}, "env: not a variable's name: 'A B'", id="space"),
        pytest.param({"A\n": "x"}, "env: not a variable's name: 'A\\n'", id="line end"),
        pytest.param({"\u00e9": "x"}, "env: not a variable's name: '\u00e9'", id="not ASCII"),
        pytest.param(
            {"QUEUECTL_ATTEMPT": "1"}, "env: QUEUECTL_ATTEMPT is for queuectl to set", id="ours"
        ),
        pytest.param({"A": "x", "B": "\0"}, "env: B holds a NUL character", id="NUL"),
        pytest.param(
            {"A": "x", "B": "\ud800"},
            "env: B is not valid Unicode (a lone surrogate)",
            id="lone surrogate",
        ),
        pytest.param(
            {"A": "x", "B": "x" * (KIB_120 + 1)},
            "env: B is too long: 122884 bytes (at most 122880)",
            id="one too long",
        ),
        pytest.param(
            dict.fromkeys("ABC", "x" * 100_000),
            "env: too long together: 300009 bytes (at most 262144)",
            id="too long together",
        ),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(env: dict[str, str], problem: str) -> None:
    error = refusal(make_spec(env=env))

    assert (str(error), error.field) == (problem, "env")


def test_a_variable_that_the_system_cannot_pass_on_is_refused() -> None:
    # Linux takes 128 KiB for one "NAME=value": the name counts.
    name_and_value = {"A" * 70_000: "x" * 70_000}

    with pytest.raises(InvalidJobError):
        resolved(make_spec(env=name_and_value))


def test_the_job_keeps_its_own_variables() -> None:
    env = {"A": "before"}
    job = resolved(make_spec(env=env))

    env["A"] = "after"

    assert job.env == {"A": "before"}


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ((), ()),
        (("a", "b"), ("a", "b")),
        (("b", "a", "b"), ("b", "a")),
        (("two words",), ("two words",)),
        (("x" * 128,), ("x" * 128,)),
        (tuple(map(str, range(64))), tuple(map(str, range(64)))),
    ],
    ids=["none", "two", "twice", "space", "longest", "most"],
)
def test_tags_are_kept_in_their_order_and_once(
    tags: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    assert resolved(make_spec(tags=tags)).tags == kept


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        pytest.param(
            ("ok", ""), "tags: not allowed: '' (1 to 128 printable characters)", id="empty"
        ),
        pytest.param(
            ("x" * 129,),
            f"tags: not allowed: '{'x' * 129}' (1 to 128 printable characters)",
            id="too long",
        ),
        pytest.param(
            ("a\n",), "tags: not allowed: 'a\\n' (1 to 128 printable characters)", id="line end"
        ),
        pytest.param(
            ("\x1b[31m",),
            "tags: not allowed: '\\x1b[31m' (1 to 128 printable characters)",
            id="escape",
        ),
        pytest.param(tuple(map(str, range(65))), "tags: too many: 65 (at most 64)", id="too many"),
    ],
)
def test_bad_tags_are_refused(tags: tuple[str, ...], problem: str) -> None:
    assert str(refusal(make_spec(tags=tags))) == problem


# Reasons


@pytest.mark.parametrize("reason", [None, "", "not needed", "two\nlines", "x" * 1000])
def test_a_reason_is_text_of_up_to_a_thousand_characters(reason: str | None) -> None:
    assert check_reason(reason) == reason


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        pytest.param("x" * 1001, "reason: longer than 1000 characters", id="too long"),
        pytest.param("\0", "reason: holds a NUL character", id="NUL"),
        pytest.param("\ud800", "reason: is not valid Unicode (a lone surrogate)", id="surrogate"),
    ],
)
def test_a_bad_reason_is_refused(reason: str, problem: str) -> None:
    with pytest.raises(InvalidJobError) as caught:
        check_reason(reason)

    assert str(caught.value) == problem


# Whatever it is


@given(specs, st.sampled_from([HERE, "/"]))
def test_a_request_becomes_a_sound_job_or_is_refused_by_a_field(spec: JobSpec, here: str) -> None:
    fields = {*JobSpec.__struct_fields__}

    try:
        job = resolved(spec, here=here)
    except InvalidJobError as error:
        assert error.field in fields  # noqa: PT017 (both ends are right)
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert re.fullmatch(ID, job.id)
        assert job.command.strip()
        assert "\0" not in job.command + job.cwd + "".join([*job.env.values(), *job.tags])
        assert (job.command + job.cwd + "".join([*job.env.values(), *job.tags])).encode()
        assert job.run_at.tzinfo is UTC
        assert job.is_due == (job.run_at <= NOW)
        assert job.cwd.startswith("/")
        assert job.timeout is None or job.timeout > timedelta()
        assert job.max_output_bytes is None or job.max_output_bytes > 0
        assert isinstance(job.on_crash, OnCrash)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("command", b"echo", id="command of bytes"),
        pytest.param("command", ["echo", "hi"], id="command of words"),
        pytest.param("id", 5, id="id of a number"),
        pytest.param("priority", "5", id="priority of text"),
        pytest.param("priority", 1.5, id="priority with a fraction"),
        pytest.param("max_retries", "3", id="retries of text"),
        pytest.param("max_retries", 1.5, id="retries with a fraction"),
        pytest.param("backoff_base", "2", id="base of text"),
        pytest.param("timeout", 60, id="timeout of a number"),
        pytest.param("on_crash", 5, id="choice of a number"),
        pytest.param("on_crash", True, id="choice of true"),
        pytest.param("max_output_bytes", "5", id="limit of text"),
        pytest.param("max_output_bytes", 0.5, id="limit with a fraction"),
        pytest.param("max_output_bytes", True, id="limit of true"),
        pytest.param("run_at", "2026-11-21", id="time of text"),
        pytest.param("delay", 5, id="delay of a number"),
        pytest.param("cwd", 5, id="folder of a number"),
        pytest.param("env", {"A": 5}, id="variable of a number"),
        pytest.param("env", [("A", "b")], id="variables in pairs"),
        pytest.param("tags", "video", id="tags of one text"),
        pytest.param("tags", (1,), id="tag of a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_field(field: str, value: Any) -> None:
    # The library is called from programs that no type checker reads.
    fields: Any = {field: value}

    error = refusal(make_spec(**fields))

    assert error.field == field
