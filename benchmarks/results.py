"""
What a program of the suite hands to the report: one `Result`, one JSON file.

All values are plain numbers in the unit that stands beside them.
"""

import statistics
from pathlib import Path

import msgspec


class Sample(msgspec.Struct):
    """The raw figures of one subject, in the order in which they were taken."""

    values: list[float]

    @property
    def median(self) -> float:
        """The middle figure; nan if there is none."""
        return statistics.median(self.values) if self.values else float("nan")

    @property
    def low(self) -> float:
        """The smallest figure; nan if there is none."""
        return min(self.values, default=float("nan"))

    @property
    def high(self) -> float:
        """The largest figure; nan if there is none."""
        return max(self.values, default=float("nan"))


class Row(msgspec.Struct):
    """One line of a table: a subject, and how it did."""

    subject: str
    unit: str
    sample: Sample
    ratio: float | None = None
    """To the yardstick: the median of the ratios taken side by side; None for none."""
    lacks: str = ""
    """What it does not do that queuectl does."""
    skipped: str = ""
    """Why it could not be run; its sample is empty then."""


class Budget(msgspec.Struct):
    """One promise, and what was measured."""

    what: str
    budget: str
    """In words, as the page says it."""
    measured: float
    unit: str
    limit: float
    is_at_most: bool

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side of the limit; nan is not."""
        return self.measured <= self.limit if self.is_at_most else self.measured >= self.limit


class Curve(msgspec.Struct):
    """Lines over one axis."""

    title: str
    x_label: str
    y_label: str
    x: list[float]
    lines: dict[str, list[float]]
    """By subject, each as long as `x`."""
    log_x: bool = False
    log_y: bool = False


class Result(msgspec.Struct):
    """What one program found."""

    name: str
    title: str
    how: str
    """One or two sentences: what was run."""
    yardstick: str
    """What the ratios are to; empty if there are none."""
    rows: list[Row]
    budgets: list[Budget]
    curves: list[Curve]
    seconds: float
    """How long the program took."""


class Machine(msgspec.Struct):
    """Where the figures were taken."""

    cores: int
    cpu: str
    kernel: str
    python: str
    sqlite: str
    queuectl: str
    date: str
    """Of the run, RFC 3339 in UTC."""


def write(path: Path, value: Result | Machine) -> None:
    """
    Write `value` as indented JSON.

    A figure that is missing (nan) becomes null, and `read` refuses it: a program that
    has no figure leaves the row or the budget out, or says why it was skipped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def read(path: Path) -> Result:
    """
    Read what a program wrote.

    Raises:
        msgspec.ValidationError: It is something else.
    """
    return msgspec.json.decode(path.read_bytes(), type=Result)


def read_machine(path: Path) -> Machine:
    """Read `machine.json`; errors as `read`."""
    return msgspec.json.decode(path.read_bytes(), type=Machine)
