"""What `top` looks like, as lines of text."""

from collections.abc import Iterable
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from queuectl import JobState, QueueStats
from queuectl.cli.drawing import Frame, draw
from queuectl.cli.look import Failure, Look, RunningJob
from queuectl.cli.sheet import Sheet
from queuectl.engine.domain.activity import PERIODS, Tally, activity
from queuectl.engine.domain.models import WorkerInfo
from tests.factories import NOW, make_job, make_worker

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt.exe\r\n\tdone [bold]not markup[/]"
VISIBLE = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt.exe\r\n\tdone [bold]not markup[/]"


def make_look(
    running: Iterable[RunningJob] = (),
    failures: Iterable[Failure] = (),
    *,
    tallies: Iterable[Tally] = (),
    workers: tuple[WorkerInfo, ...] = (),
) -> Look:
    running = tuple(running)
    stats = QueueStats(
        counts=dict.fromkeys(JobState, 0) | {JobState.PROCESSING: len(running)},
        avg_duration=None,
        oldest_pending=timedelta(seconds=3),
        workers=workers,
        activity=tuple(activity(period, tallies) for period in PERIODS.values()),
    )
    return Look(NOW, "/var/queue.db", stats, running, tuple(failures))


def make_running(number: int = 1, last_line: str = "", **fields: str) -> RunningJob:
    job = make_job(id=fields.pop("id", f"job-{number}"), started_at=NOW, **fields)  # type: ignore[arg-type]
    return RunningJob(job=job, age=timedelta(seconds=number), last_line=last_line)


def make_failure(number: int = 1, **fields: str) -> Failure:
    at = NOW - timedelta(minutes=number)
    return Failure(at, f"job-{number}", 1, JobState.DEAD, "exit_code=1")._replace(**fields)  # type: ignore[arg-type]


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


@pytest.mark.parametrize("width", [1, 10, 40, 59, 60, 80, 200])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, *, is_ascii: bool) -> None:
    look = make_look(
        [make_running(1, "日本語" * 50), make_running(2, HOSTILE, command=HOSTILE)],
        [make_failure(1, reason=HOSTILE), make_failure(2, job_id="x" * 128)],
        tallies=[Tally("completed", 0, 10**9, 0), Tally("failed", 0, 7, 0)],
        workers=(make_worker(busy=2),),
    )
    lines = draw(look, Sheet(width=width, is_ascii=is_ascii))

    assert max(line.cell_len for line in lines) <= width
    assert not is_ascii or all(line.plain.isascii() for line in lines)


@pytest.mark.parametrize("height", range(1, 40))
def test_there_are_no_more_lines_than_the_terminal_has(height: int) -> None:
    look = make_look(
        [make_running(number) for number in range(1, 31)],
        [make_failure(number) for number in range(1, 31)],
    )
    lines = plain(draw(look, Sheet(width=80, height=height)))

    assert len(lines) <= height
    if height >= 20:
        assert "Recent failures" in lines
        assert any(line.startswith("and ") for line in lines)


def test_text_of_jobs_is_shown_as_it_is_and_does_nothing() -> None:
    look = make_look(
        [make_running(last_line=HOSTILE, command=HOSTILE)], [make_failure(reason=HOSTILE)]
    )
    text = "\n".join(plain(draw(look, Sheet())))

    assert text.count(VISIBLE) == 3
    assert not any(bad in text for bad in ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\t"))


def test_what_runs_is_shown_with_its_age_and_its_last_line() -> None:
    look = make_look([make_running(75, "halfway", command="make")])
    [row] = [line for line in plain(draw(look, Sheet(width=80))) if "job-75" in line]

    assert row == "1 m 15 s  job-75  make     halfway"


def test_a_narrow_terminal_has_the_last_line_and_not_the_command() -> None:
    look = make_look([make_running(75, "halfway", command="make all")], [make_failure()])
    text = "\n".join(plain(draw(look, Sheet(width=40))))

    assert "halfway" in text
    assert "exit_code=1" in text
    assert "make" not in text
    assert "cancelled 0" in text
    assert "0 failed" in text


def test_what_is_cut_shows_that_it_was() -> None:
    look = make_look([make_running(1, "x" * 100)])

    assert "x…" in "\n".join(plain(draw(look, Sheet(width=40))))
    assert "x~" in "\n".join(plain(draw(look, Sheet(width=40, is_ascii=True))))


def test_a_job_that_is_stuck_says_so_in_place_of_its_output() -> None:
    look = make_look([make_running(1, "halfway", stuck="process 7 cannot be ended")])
    text = "\n".join(plain(draw(look, Sheet())))

    assert "stuck: process 7 cannot be ended" in text
    assert "halfway" not in text


@pytest.mark.parametrize(
    ("completed", "failed", "bar"),
    [
        (0, 0, "░░░░░░░░"),
        (1, 0, "████████"),
        (1, 1, "████▒▒▒▒"),
        (0, 5, "▒▒▒▒▒▒▒▒"),
        (1000, 1, "███████▒"),
    ],
)
def test_a_bar_tells_how_many_failed(completed: int, failed: int, bar: str) -> None:
    tallies = [Tally("completed", 0, completed, 0), Tally("failed", 0, failed, 0)]
    lines = plain(draw(make_look(tallies=tallies), Sheet(width=60)))

    assert bar in next(line for line in lines if line.startswith("last minute"))


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        (Sheet(width=100), "30 ended, ▒ 26 failed (14 died)"),
        (Sheet(width=100, is_ascii=True), "30 ended, x 26 failed (14 died)"),
        (Sheet(width=50), "▒ 26 failed"),
    ],
)
def test_the_sign_of_failures_is_told_and_those_that_died_are_a_part_of_them(
    sheet: Sheet, words: str
) -> None:
    tallies = [Tally("completed", 0, 4, 0), Tally("failed", 0, 26, 0), Tally("died", 0, 14, 0)]
    lines = plain(draw(make_look(tallies=tallies), sheet))

    assert next(line for line in lines if "minute" in line).endswith(words)


def test_bars_have_one_scale_and_show_the_least_of_it() -> None:
    lines = plain(draw(make_look(tallies=[Tally("completed", 0, 60, 0)]), Sheet(width=60)))
    [minute, hour, day] = [line for line in lines if line.startswith("last ")]

    assert ("1/s" in minute, "0.0167/s" in hour, "2.5/h" in day) == (True, True, True)
    assert "████████" in minute
    assert "█░░░░░░░" in hour
    assert "█░░░░░░░" in day


@pytest.mark.parametrize(
    ("workers", "words"),
    [((), "nothing: no worker is alive"), ((make_worker(),), "nothing")],
)
def test_where_nothing_runs_it_says_why(workers: tuple[WorkerInfo, ...], words: str) -> None:
    lines = plain(draw(make_look(workers=workers), Sheet(width=120)))

    assert lines[lines.index("Processing (0)") + 1].startswith(words)


def test_the_command_that_starts_a_worker_is_the_one_that_is_meant() -> None:
    start = "queuectl --db '/with space.db' worker start"
    lines = plain(draw(make_look(), Sheet(width=120), start=start))

    assert f"nothing: no worker is alive; start one with: {start}" in lines


def test_a_low_terminal_has_every_running_job_that_fits_and_a_failure() -> None:
    look = make_look([make_running(1), make_running(2)], [make_failure(3), make_failure(4)])
    lines = plain(draw(look, Sheet(width=60, height=14)))
    ids = [word for line in lines for word in line.split() if word.startswith("job-")]

    assert ids == ["job-1", "job-2", "job-3"]


@pytest.mark.parametrize("height", range(1, 40))
@pytest.mark.parametrize("running", [0, 30])
def test_no_title_of_failures_stands_without_one(height: int, running: int) -> None:
    look = make_look(map(make_running, range(1, running + 1)), [make_failure()])
    lines = plain(draw(look, Sheet(width=60, height=height)))

    assert ("Recent failures" in lines) == any("exit_code=1" in line for line in lines)


def test_numbers_have_their_thousands_apart() -> None:
    tallies = [Tally("completed", 0, 30_000, 0), Tally("failed", 0, 1055, 0)]
    lines = plain(draw(make_look(tallies=tallies), Sheet(width=100)))

    assert lines[1].startswith("517.6 jobs/s")
    assert next(line for line in lines if "minute" in line).endswith(
        "31,055 ended, ▒ 1,055 failed (0 died)"
    )


def test_rich_draws_it_to_the_size_of_its_console_and_says_how_to_leave() -> None:
    console = Console(file=StringIO(), width=40, height=12, force_terminal=True, no_color=True)
    console.print(Frame(make_look([make_running()]), "queuectl worker start"), end="")
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()

    assert len(lines) == 12
    assert "Ctrl-C ends it" in lines[-1]
