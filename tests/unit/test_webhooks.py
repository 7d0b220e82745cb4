"""What webhooks may be, what becomes of deliveries, and how messages are signed."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.delivering import (
    FIRST_WAIT,
    LONGEST_PROBLEM,
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    Answer,
    decide_delivery,
    decide_pause,
    longest_overdue,
    parse_retry_after,
)
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhook_rules import (
    check_on,
    check_secret,
    check_url,
    check_webhook_tags,
)
from queuectl.engine.domain.webhooks import (
    WATCHED,
    DeliveryState,
    wants,
    webhook_name,
    webhook_number,
)
from queuectl.engine.errors import InvalidValueError
from queuectl.engine.runtime.webhooks.lane import REFUSED_SECONDS, Lane, Records
from queuectl.engine.runtime.webhooks.sender import signature_headers
from tests.factories import NOW

# The example of Standard Webhooks, which its libraries are tested with.
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (everybody knows it)
MESSAGE_ID: Final = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT_AT: Final = datetime.fromtimestamp(1614265330, UTC)
BODY: Final = b'{"test": 2432232314}'
SIGNATURE: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_signed_as_the_specification_shows() -> None:
    assert signature_headers(SECRET, MESSAGE_ID, BODY, SENT_AT) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a/b?c=d%20e&f",
        "HTTPS://EXAMPLE.COM/x",
        "https://10.0.0.1/",
        "https://[2001:db8::1]:443/x",
        "https://[::ffff:10.0.0.1]/",
        "https://under_score.example.com./",
        "https://example.com:/",
        "https://1.example.com/",
        "https://xn--exmple-cua.com/",
        "http://localhost:8000/x",
        "http://app.localhost/x",
        "http://127.8.9.1/x",
        "http://[::1]:80/x",
    ],
)
def test_these_can_be_called(url: str) -> None:
    assert check_url(url, insecure=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/hook",
        "https://",
        "https:///hook",
        "ftp://example.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://example.com:0/",
        "https://example.com:70000/",
        "https://example.com:port/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[::1]x:80/",
        "https://[]/",
        "https://[1.2.3.4]/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.a]/",
        "https://a:b:80/",
        "https://999.1.1.1/",
        "https://1.2.3/",
        "https://127.1/",
        "https://0x7f.0x1/",
        "https://2130706433/",
        "https://example.1/",
        "https://010.0.0.1/",
        "https://a..example.com/",
        "https://.example.com/",
        "https://./",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 127 + "com/",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://:@example.com/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\r\nx-header: y",
        "https://example.com\\@evil.example/",
        "https://example.com/\u202e",
        "https://exämple.com/",
        "https://example.com/" + "a" * 2000,
        "http://example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
    ],
)
def test_these_cannot(url: str) -> None:
    with pytest.raises(InvalidValueError):
        check_url(url, insecure=False)


def test_http_to_another_machine_is_on_purpose_only() -> None:
    assert check_url("http://example.com/", insecure=True) == "http://example.com/"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hush@example.com/",
        "https://user:hush#@example.com/",
        "https://user:hush\u00e9@example.com/",
        "https://user:hush@exam ple.com/",
        "https://user:hush@[::1/",
        "https://user:hush@example.com:port/",
        "https://user:hush@@example.com:port/",
        "https:/user:a//hush@example.com/",
        "https://user:\nhush@example.com/",
        "https://user:hush",
        "http://user:hush%40example.com/",
        "htp://user:hush:example.com/",
        "https://user:hush\uff20example.com/",
    ],
)
def test_a_url_with_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_url(url, insecure=False)

    assert "hush" not in str(caught.value)


def test_states_are_kept_once_and_in_their_order() -> None:
    assert check_on(["dead", "completed", JobState.DEAD]) == (JobState.COMPLETED, JobState.DEAD)
    assert check_on("failed") == (JobState.FAILED,)


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ([], ""),
        (["pending"], "; not of 'pending'"),
        (["dead", "done"], "; not of 'done'"),
        ("", "; not of ''"),
    ],
)
def test_other_states_are_refused_with_those_that_can_be_told_of(on: list[str], words: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_on(on)

    known = "completed, failed, dead, cancelled"
    assert str(caught.value) == f"a webhook is told of one or more of: {known}{words}"


def test_tags_are_kept_once() -> None:
    assert check_webhook_tags(["b", "a", "b"]) == ("b", "a")
    assert check_webhook_tags("nightly") == ("nightly",)

    with pytest.raises(InvalidValueError, match="not allowed"):
        check_webhook_tags(["\x1b"])


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_AAAA",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + "!" * 32,
        "whsec_" + "A" * 33,
        "whsec_" + "A" * 88,
        "whsec_" + "Ä" * 32,
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_secret(secret)

    assert len(secret) < 7 or secret.removeprefix("whsec_") not in str(caught.value)


def test_a_secret_of_the_right_size_is_taken() -> None:
    assert check_secret(SECRET) == SECRET


@given(st.integers(min_value=0, max_value=10**17))
def test_a_webhook_is_found_by_its_name(number: int) -> None:
    assert webhook_number(webhook_name(number)) == number


@pytest.mark.parametrize("name", ["", "wh", "7", "wh-1", "wh 1", "wh१", "wh1x", "wh" + "9" * 30])
def test_other_names_are_nobodys(name: str) -> None:
    assert webhook_number(name) is None


@pytest.mark.parametrize(
    ("on", "tags", "of", "is_wanted"),
    [
        (WATCHED, (), (), True),
        (WATCHED, (), ("a",), True),
        (WATCHED, ("a",), (), False),
        (WATCHED, ("a", "b"), ("b", "c"), True),
        (WATCHED, ("a",), ("b",), False),
        ((JobState.COMPLETED,), (), (), False),
    ],
)
def test_states_and_tags_both_have_to_fit(
    on: tuple[JobState, ...], tags: tuple[str, ...], of: tuple[str, ...], *, is_wanted: bool
) -> None:
    assert wants(on, tags, JobState.DEAD, of) is is_wanted


# What becomes of a delivery


def decide(answer: Answer, attempts: int = 1, luck: float = 0.0) -> timedelta | DeliveryState:
    """Return the wait until the next attempt, or how it ended."""
    decision = decide_delivery(answer, attempts, NOW, luck)
    return decision.state if decision.due_at is None else decision.due_at - NOW


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_what_is_taken_is_delivered(status: int) -> None:
    assert decide(Answer(status=status), MOST_ATTEMPTS) is DeliveryState.DELIVERED


@pytest.mark.parametrize("status", [100, 199, 301, 302, 304, 307, 400, 401, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again(status: int) -> None:
    assert decide(Answer(status=status)) == FIRST_WAIT
    assert not decide_delivery(Answer(status=status), 1, NOW, 0).disables


def test_who_says_that_he_is_gone_gets_nothing_more() -> None:
    decision = decide_delivery(Answer(status=410), 1, NOW, 0)

    assert (decision.state, decision.disables) == (DeliveryState.DEAD, True)


def test_waits_grow_from_seconds_to_hours_for_about_a_day() -> None:
    waits = [decide(Answer(status=500), attempts) for attempts in range(1, MOST_ATTEMPTS + 1)]

    assert waits.pop() is DeliveryState.DEAD
    seconds = [wait.total_seconds() for wait in waits if isinstance(wait, timedelta)]
    assert seconds == [5, 15, 45, 135, 405, 1215, 3645, 10935, 21600, 21600, 21600]
    assert 20 * 3600 < sum(seconds) < 26 * 3600


@given(st.integers(min_value=1, max_value=MOST_ATTEMPTS - 1), st.floats(min_value=0, max_value=1))
def test_jitter_makes_a_wait_longer_by_a_fifth_at_the_most(attempts: int, luck: float) -> None:
    plain, spread = decide(Answer(), attempts), decide(Answer(), attempts, luck)

    assert isinstance(plain, timedelta)
    assert isinstance(spread, timedelta)
    assert plain <= spread <= plain * 1.2
    assert spread <= LONGEST_WAIT * 1.2


def test_who_asks_for_time_gets_it_but_not_for_ever_and_not_less_than_others() -> None:
    def wait(asked: timedelta) -> timedelta | DeliveryState:
        return decide(Answer(status=429, retry_after=asked))

    assert wait(timedelta(minutes=30)) == timedelta(minutes=30)
    assert wait(timedelta(days=400)) == LONGEST_RETRY_AFTER
    assert wait(timedelta()) == FIRST_WAIT


TAKEN: Final = Answer(status=200)
REFUSED: Final = Answer(status=500)
ASKS: Final = Answer(status=429, retry_after=timedelta(minutes=30))


def test_who_takes_nothing_is_left_alone_for_up_to_a_minute() -> None:
    pauses = [decide_pause([REFUSED], refusals).total_seconds() for refusals in range(1, 10)]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert decide_pause([REFUSED], 10**9) == timedelta(minutes=1)
    assert decide_pause([], 0) == decide_pause([REFUSED], 0) == timedelta()
    assert decide_pause([REFUSED, ASKS], 9) == timedelta(minutes=30)


def test_a_pause_ends_with_a_message_that_is_taken_unless_time_is_asked_for() -> None:
    lane = Lane()
    lane.hear([REFUSED], 100)
    lane.hear([REFUSED, REFUSED], 101)
    assert (lane.seconds_held(101), lane.seconds_held(104)) == (2, 0)

    lane.hear([TAKEN, REFUSED], 104)
    assert lane.seconds_held(104) == 0
    lane.hear([REFUSED], 104)
    assert lane.seconds_held(104) == 1

    # As one does that takes so many in a while.
    lane.hear([TAKEN, ASKS], 105)
    assert lane.seconds_held(105) == 1800


def test_the_longer_nothing_can_be_recorded_the_less_is_sent() -> None:
    records = Records()
    now, pauses = 0.0, []

    for _ in range(8):
        records.hear(are_kept=False, now=now)
        # Another that was on its way already.
        records.hear(are_kept=False, now=now)
        pauses.append(records.seconds_held(now))
        now += pauses[-1]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    records.hear(are_kept=True, now=now)
    assert not records.are_refused
    records.hear(are_kept=False, now=now)
    assert records.seconds_held(now) == 1


def test_messages_do_not_die_earlier_behind_others_than_by_attempts_of_their_own() -> None:
    lane = Lane()
    lane.hear([ASKS], 0)
    lane.hear([REFUSED], 1)
    longest = timedelta(hours=27)

    assert not lane.is_hopeless(longest.total_seconds())
    assert lane.is_hopeless(REFUSED_SECONDS)
    assert longest_overdue(lane.asked) >= longest + (MOST_ATTEMPTS - 1) * timedelta(minutes=30)
    lane.hear([TAKEN], 2)
    assert not lane.is_hopeless(REFUSED_SECONDS * 2)
    assert lane.asked == timedelta()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, 999_999_999),
        ("Sat, 21 Nov 2026 09:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 08:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 09:01:00 -0000", 60),
    ],
)
def test_what_a_receiver_asks_for_is_seconds_or_a_date(text: str, seconds: int) -> None:
    assert parse_retry_after(text, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", [None, "", "soon", "-5", "1.5", "१२", "Sat, 99 Nov 99999 09:01:00 GMT", "\x00"]
)
def test_what_cannot_be_read_asks_for_nothing(text: str | None) -> None:
    assert parse_retry_after(text, NOW) is None


@given(st.text())
def test_no_text_of_a_receiver_breaks_the_reader(text: str) -> None:
    asked = parse_retry_after(text, NOW)

    assert asked is None or asked >= timedelta()


def test_the_words_of_a_network_are_cut() -> None:
    assert Answer(problem="x" * 5000).reason == "x" * LONGEST_PROBLEM
    assert Answer().reason == "no answer"
    assert Answer(status=204).reason is None
