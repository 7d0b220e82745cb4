"""What becomes of a delivery when an attempt ends: the whole retry policy of webhooks."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from queuectl.engine.domain.webhooks import DeliveryState

# Waits of 5 s, 15 s, 45 s and so on, up to 6 hours: 12 attempts in about a day, as the
# examples of Standard Webhooks do ("Deliverability and reliability").
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=6)
MOST_ATTEMPTS: Final = 12
_GROWTH: Final = 3

# Who takes nothing is left alone for 1 s, 2 s, 4 s and so on, up to a minute: one message
# at a time finds out whether it takes some again, and the others follow soon when it does.
FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=1)
_MOST_DOUBLINGS: Final = 6

# For how long a message may be due while the ones before it are not taken. With the share
# below, all attempts of one take 27 hours at the most, unless its receiver asks for more:
# who takes none for two days takes none of those that wait either. Without a limit they
# would pile up, for only one at a time finds out whether it takes some again.
LONGEST_OVERDUE: Final = timedelta(days=2)

# The largest share that is added to a wait, so that not all come back at once.
_JITTER: Final = 0.2

# What a receiver may ask for at the most.
LONGEST_RETRY_AFTER: Final = timedelta(days=1)
_MOST_DIGITS: Final = 9

# How far ahead a message can be due; clocks are set right by seconds all the time.
LONGEST_DUE: Final = LONGEST_RETRY_AFTER + timedelta(hours=1)

# The first digits of statuses; and the one by which a receiver says: nothing more, please.
_TAKEN: Final = 2
_REDIRECTED: Final = 3
_GONE: Final = 410

# Characters of a problem that are kept: parts of it may be what a server said.
LONGEST_PROBLEM: Final = 200


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of one attempt.

    Attributes:
        status: The HTTP status, None where no answer came.
        problem: What went wrong where no answer came.
        retry_after: How long the receiver asked to be left alone.
    """

    status: int | None = None
    problem: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has the message."""
        return self.status is not None and self.status // 100 == _TAKEN

    @property
    def reason(self) -> str | None:
        """Why the message was not taken, None where it was."""
        if self.is_taken:
            return None

        if self.status is None:
            return (self.problem or "no answer")[:LONGEST_PROBLEM]

        note = ": redirects are not followed" if self.status // 100 == _REDIRECTED else ""
        return f"status={self.status}{note}"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a delivery goes from here.

    Attributes:
        state: What it is now.
        due_at: When it is sent again; None where it is not.
        disables: Whether the webhook gets nothing any more, for it said so.
    """

    state: DeliveryState
    due_at: datetime | None = None
    disables: bool = False


def decide_delivery(answer: Answer, attempts: int, now: datetime, luck: float) -> Decision:
    """
    Decide what becomes of a delivery.

    Args:
        answer: To its last attempt.
        attempts: How many there were, this one included.
        now: The time.
        luck: Where in the jitter's range to land, 0.0 to 1.0.
    """
    if answer.is_taken:
        return Decision(state=DeliveryState.DELIVERED)

    if answer.status == _GONE:
        return Decision(state=DeliveryState.DEAD, disables=True)

    if attempts >= MOST_ATTEMPTS:
        return Decision(state=DeliveryState.DEAD)

    wait = min(FIRST_WAIT * _GROWTH ** (attempts - 1), LONGEST_WAIT) * (1 + _JITTER * luck)

    return Decision(state=DeliveryState.WAITING, due_at=now + max(wait, asked_for([answer])))


def asked_for(refused: Iterable[Answer]) -> timedelta:
    """Return how long a receiver is left alone that answered so: what it asked for, up to a day."""
    asked = (answer.retry_after or timedelta() for answer in refused)
    return min(max(asked, default=timedelta()), LONGEST_RETRY_AFTER)


def decide_pause(refused: Iterable[Answer], refusals: int) -> timedelta:
    """
    Decide for how long a receiver is sent nothing at all.

    Args:
        refused: What it last answered to messages that it did not take.
        refusals: How often in a row it took none.
    """
    asked = asked_for(refused)

    if not refusals:
        return asked

    growing = FIRST_PAUSE * (1 << min(refusals - 1, _MOST_DOUBLINGS))
    return max(asked, min(growing, LONGEST_PAUSE))


def longest_overdue(asked: timedelta) -> timedelta:
    """
    Return for how long a message may be due behind others: no shorter than it would be retried.

    Args:
        asked: The longest that its receiver asked to be left alone for, up to a day.
    """
    return LONGEST_OVERDUE + (MOST_ATTEMPTS - 1) * asked


def overdue_reason(answer: Answer, longest: timedelta) -> str:
    """Say why a message is given up that was due for too long; the answer is to another."""
    return f"not taken within {longest.days} days; the last one: {answer.reason}"


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """
    Return how long a receiver asks to be left alone (RFC 9110, 10.2.3).

    Args:
        text: The header: seconds, or a date.
        now: The time.

    Returns:
        None where it says nothing, or nothing that can be read.
    """
    # Only who delivers needs it, and everybody imports this.
    from email.utils import parsedate_to_datetime

    given = (text or "").strip()

    if given.isascii() and given.isdecimal():
        return timedelta(seconds=int(given[:_MOST_DIGITS]))

    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None

    # A date without a zone is in UTC: RFC 9110 knows no other.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
