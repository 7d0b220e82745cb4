"""What each page shows."""

from datetime import timedelta
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from queuectl import InvalidValueError, JobState, OutcomeKind, WorkerInfo, WorkerState
from queuectl.dashboard import words
from queuectl.dashboard.panes import params, search
from queuectl.dashboard.panes.config import Refused, config_view
from queuectl.dashboard.panes.confirm import confirm_view
from queuectl.dashboard.panes.database import database_view
from queuectl.dashboard.panes.dlq import dlq_view
from queuectl.dashboard.panes.enqueue import enqueue_view
from queuectl.dashboard.panes.error import error_view
from queuectl.dashboard.panes.fleet import fleet_view
from queuectl.dashboard.panes.job import Shown, job_view, shown
from queuectl.dashboard.panes.job_row import job_row
from queuectl.dashboard.panes.jobs import jobs_view
from queuectl.dashboard.panes.life import life
from queuectl.dashboard.panes.notice import notice
from queuectl.dashboard.panes.overview import OverviewView, overview_view
from queuectl.dashboard.seen import SeenJob, seen_jobs
from queuectl.engine.domain.looks import MOST_READ
from tests.dashboard.views import (
    make_activity,
    make_cause,
    make_info,
    make_page,
    make_point,
    make_spread,
    make_stats,
)
from tests.factories import NOW, make_attempt, make_job, make_settings, make_worker

SECOND = timedelta(seconds=1)


def overview(**fields: Any) -> OverviewView:
    given: dict[str, Any] = {
        "stats": make_stats(),
        "hour": [],
        "day": [],
        "running": [],
        "dead": [],
    } | fields
    return overview_view(given.pop("stats"), now=NOW, **given)


def test_every_state_has_its_number_and_the_oldest_wait() -> None:
    view = overview(
        stats=make_stats({JobState.PENDING: 1234, JobState.DEAD: 2}, oldest_pending=90 * SECOND)
    )
    kpis = {kpi.state: kpi for kpi in view.kpis}

    assert list(kpis) == [state.value for state in JobState]
    assert (kpis["pending"].count, kpis["pending"].note) == ("1,234", "oldest waits 1 min")
    assert not kpis["dead"].is_calm
    assert kpis["pending"].is_calm


@pytest.mark.parametrize(
    ("workers", "count", "note"),
    [
        ([make_worker(busy=2, concurrency=2)], 17, "2 of 2 slots busy"),
        ([make_worker(busy=0, concurrency=1)], 0, "0 of 1 slot busy"),
        ([], 0, "no worker"),
        ([make_worker(busy=2, state=WorkerState.DEAD)], 2, "left by a dead worker"),
    ],
)
def test_jobs_that_are_claimed_ahead_are_not_said_to_be_in_slots(
    workers: list[WorkerInfo], count: int, note: str
) -> None:
    stats = make_stats({JobState.PROCESSING: count}, workers=tuple(workers))

    assert {kpi.state: kpi.note for kpi in overview(stats=stats).kpis}["processing"] == note


def test_after_a_purge_it_is_not_said_that_nothing_was_completed() -> None:
    def note(completed: int) -> str:
        stats = make_stats(
            activity=tuple(
                make_activity(period, completed=completed)
                for period in (timedelta(hours=1), timedelta(days=1))
            )
        )
        return {kpi.state: kpi.note for kpi in overview(stats=stats).kpis}["completed"]

    assert (note(0), note(1234)) == ("none at the moment", "1,234 in the last day")


def test_durations_are_there_for_each_period() -> None:
    spread = make_spread(SECOND / 250, SECOND, 90 * SECOND)
    activity = (
        make_activity(timedelta(minutes=1), wait=spread),
        make_activity(timedelta(days=1), completed=43_200),
    )
    minute, day = overview(stats=make_stats(activity=activity)).periods

    assert (minute.name, minute.wait, minute.run) == ("Minute", ("4 ms", "1.00 s", "1 m 30 s"), ())
    assert (day.name, day.per_second) == ("Day", "0.50")


def test_a_chart_has_its_sums_and_its_axis() -> None:
    hour = [make_point(0, completed=30, failed=1), make_point(1, completed=1)]
    chart = overview(hour=hour).charts[0]

    assert (chart.completed, chart.failed, chart.failed_share) == ("31", "1", "3.1 %")
    assert (chart.top, chart.middle) == ("40", "20")


def test_a_queue_is_unused_until_something_was_enqueued() -> None:
    assert overview().is_unused
    assert not overview(day=[make_point(enqueued=1)]).is_unused
    assert not overview(stats=make_stats({JobState.COMPLETED: 1})).is_unused


@pytest.mark.parametrize(
    ("state", "can"),
    [
        (JobState.PENDING, {"cancel", "delete", "run_now"}),
        (JobState.PROCESSING, {"cancel"}),
        (JobState.FAILED, {"retry", "cancel", "delete", "run_now"}),
        (JobState.COMPLETED, {"delete"}),
        (JobState.DEAD, {"retry", "delete"}),
        (JobState.CANCELLED, {"retry", "delete"}),
    ],
)
def test_a_job_offers_what_can_be_done_with_it(state: JobState, can: set[str]) -> None:
    assert job_row(make_job(state=state, run_at=NOW + SECOND), NOW).can == can


def test_a_job_that_is_due_is_not_offered_to_run_now() -> None:
    assert "run_now" not in job_row(make_job(run_at=NOW), NOW).can


def test_a_row_says_what_its_time_is() -> None:
    told = {
        "enqueued 5 s ago": make_job(created_at=NOW - 5 * SECOND, run_at=NOW - 5 * SECOND),
        "due in 5 s": make_job(run_at=NOW + 5 * SECOND),
        "started 5 s ago": make_job(state=JobState.PROCESSING, started_at=NOW - 5 * SECOND),
        "retry in 5 s": make_job(state=JobState.FAILED, run_at=NOW + 5 * SECOND),
        "ended 5 s ago": make_job(state=JobState.COMPLETED, finished_at=NOW - 5 * SECOND),
        "died 5 s ago": make_job(state=JobState.DEAD, finished_at=NOW - 5 * SECOND),
    }

    for said, job in told.items():
        row = job_row(job, NOW)
        assert f"{row.happened} {row.at.words}" == said


def test_a_running_job_shows_how_long_it_has_run() -> None:
    job = make_job(state=JobState.PROCESSING, started_at=NOW - 83 * SECOND, duration=SECOND)

    assert job_row(job, NOW).duration == "1 m 23 s"


def test_a_long_command_is_cut_and_many_tags_are_counted() -> None:
    row = job_row(make_job(command="x" * 100_000, tags=tuple("abcdefgh")), NOW)

    assert len(row.command) == 301
    assert (row.tags, row.more_tags) == (("a", "b", "c", "d", "e"), 3)


def test_the_next_page_keeps_what_was_asked_for() -> None:
    page, counts = make_page(older=7), dict.fromkeys(JobState, 1)
    view = jobs_view(page, counts, NOW, state=JobState.DEAD, tag="a b", before=9)
    every = jobs_view(page, counts, NOW)

    assert view.query == {"state": "dead", "tag": "a b", "search": None, "before": 9}
    assert [choice.is_chosen for choice in view.choices].index(True) == 1 + list(JobState).index(
        JobState.DEAD
    )
    # They are counted by state alone.
    assert every.choices[0].count == "6"
    assert {choice.count for choice in view.choices} == {""}


def test_a_search_does_not_follow_what_happens() -> None:
    counts = dict.fromkeys(JobState, 0)

    assert jobs_view(make_page(), counts, NOW).is_live
    assert not jobs_view(make_page(), counts, NOW, search="x").is_live


def test_a_cause_that_was_chosen_is_marked() -> None:
    causes = [make_cause("exit_code=1", 12_000), make_cause("", 1)]
    view = dlq_view(make_page(), causes, NOW, total=2, reason="exit_code=1")

    assert [(cause.jobs, cause.is_chosen) for cause in view.causes] == [
        ("12,000 jobs", True),
        ("1 job", False),
    ]
    assert not view.is_live


def test_what_died_of_causes_that_are_left_out_is_counted() -> None:
    causes = [make_cause(f"exit_code={n}", 2) for n in range(50)]

    assert dlq_view(make_page(), causes, NOW, total=1234).others == "1,134 jobs"
    assert dlq_view(make_page(), causes, NOW, total=100).others == ""
    # With fewer causes there are no others.
    assert dlq_view(make_page(), causes[:49], NOW, total=99).others == ""


def test_how_many_of_the_dead_are_deleted_is_asked() -> None:
    def asked(dead: int | None, **query: str) -> str:
        return confirm_view("dlq_purge", QueryParams(query), dead=dead).asked.question

    assert asked(1234, all="yes") == "Delete 1,234 dead jobs, all there are?"
    assert asked(1, reason="exit_code=3") == "Delete 1 dead job, all that died of: exit_code=3?"
    assert asked(None, reason="") == "Delete all dead jobs that died of: no reason given?"


def test_jobs_that_died_without_a_reason_are_a_cause_too() -> None:
    view = dlq_view(make_page(), [make_cause("", 1)], NOW, total=1, reason="")

    assert (view.causes[0].reason, view.causes[0].words) == ("", "no reason given")
    assert view.query == {"reason": "", "before": None}
    assert confirm_view("dlq_purge", QueryParams([("reason", "")])).fields == (("reason", ""),)


def test_the_reason_of_a_cause_is_sent_as_it_is() -> None:
    view = dlq_view(make_page(), [make_cause("odd\u202e\n")], NOW, total=1)

    assert (view.causes[0].reason, view.causes[0].words) == ("odd\u202e\n", "odd\\u202e\\n")


def test_the_life_of_a_job_is_its_waits_and_its_runs() -> None:
    job = make_job(state=JobState.FAILED, created_at=NOW - 100 * SECOND, run_at=NOW + 30 * SECOND)
    runs = [
        make_attempt(
            number=1,
            started_at=NOW - 90 * SECOND,
            finished_at=NOW - 60 * SECOND,
            outcome=OutcomeKind.INTERRUPTED,
        ),
        make_attempt(
            number=2,
            started_at=NOW - 40 * SECOND,
            finished_at=NOW - 30 * SECOND,
            outcome=OutcomeKind.TIMED_OUT,
        ),
    ]
    drawn = life(job, runs, NOW)

    assert [(row.name, row.state, row.waited, row.took) for row in drawn.rows] == [
        ("run 1", "pending", "waited 10 s", "30 s"),
        ("run 2", "failed", "waited 20 s", "10 s"),
        ("retry", "failed", "waits 1 m 00 s", ""),
    ]
    assert (drawn.begin, drawn.end) == ("1 min ago", "in 30 s")
    assert "run 2 timed out: 10 s" in drawn.svg


def test_a_run_under_way_reaches_until_now() -> None:
    job = make_job(state=JobState.PROCESSING, created_at=NOW - 5 * SECOND)
    run = make_attempt(started_at=NOW - 4 * SECOND, finished_at=None, outcome=None)
    drawn = life(job, [run], NOW)

    assert [(row.state, row.took) for row in drawn.rows] == [("processing", "4.00 s")]
    assert drawn.end == "now"


def test_the_two_ends_of_a_drawing_are_told_apart() -> None:
    """A short job that ended long ago begins and ends as many minutes ago."""
    job = make_job(state=JobState.COMPLETED, created_at=NOW - 80 * SECOND)
    run = make_attempt(started_at=NOW - 79 * SECOND, finished_at=NOW - 77.6 * SECOND)
    drawn = life(job, [run], NOW)

    assert (drawn.begin, drawn.end) == ("1 min ago", "2.40 s later")


def test_clocks_that_disagree_do_not_break_the_drawing() -> None:
    job = make_job(state=JobState.PROCESSING, created_at=NOW + SECOND)
    run = make_attempt(started_at=NOW + 2 * SECOND, finished_at=None, outcome=None)

    assert life(job, [run], NOW).rows[0].took == "< 1 ms"


def test_of_very_many_runs_the_last_are_drawn() -> None:
    runs = [
        make_attempt(number=n, started_at=NOW + n * SECOND, finished_at=NOW + n * SECOND)
        for n in range(1, 101)
    ]
    view = job_view(make_job(state=JobState.COMPLETED), runs, Shown(), NOW + 200 * SECOND)

    assert (len(view.life.rows), view.life.hidden) == (12, 88)
    assert (view.attempts[0].number, len(view.attempts), view.hidden_attempts) == (100, 50, 50)


def test_a_job_that_was_cancelled_before_it_ran_has_no_drawing() -> None:
    view = job_view(make_job(state=JobState.CANCELLED), [], Shown(), NOW)

    assert (view.life.svg, view.life.rows) == ("", ())


def test_an_attempt_shows_what_it_used() -> None:
    run = make_attempt(
        cpu=SECOND / 2, max_rss_bytes=3 * 2**20, output_bytes=2048, finished_at=NOW + 2 * SECOND
    )
    [row] = job_view(make_job(), [run], Shown(), NOW).attempts

    assert (row.cpu, row.cpu_share, row.memory, row.output) == (
        "500 ms",
        "25 %",
        "3.0 MiB",
        "2.0 KiB",
    )


def test_an_attempt_under_way_shows_what_it_wrote_and_when_the_rest_is_known() -> None:
    run = make_attempt(finished_at=None, outcome=None)
    job = make_job(state=JobState.PROCESSING)
    [row] = job_view(job, [run], Shown(), NOW, written=6 * 1024).attempts

    assert (row.cpu, row.memory, row.output) == ("when it ends", "when it ends", "6.0 KiB")


@pytest.mark.parametrize(
    ("written", "has_ended", "words"),
    [
        (6 * 1024, False, "Output so far"),
        (17 * 2**20, False, "Its last 16 MiB"),
        (17 * 2**20, True, "Whole output"),
    ],
)
def test_the_link_to_an_output_says_what_it_leads_to(
    written: int, words: str, *, has_ended: bool
) -> None:
    run = make_attempt() if has_ended else make_attempt(finished_at=None, outcome=None)
    job = make_job(state=JobState.COMPLETED if has_ended else JobState.PROCESSING)
    view = job_view(job, [run], Shown(), NOW, written=written)

    assert view.output.link == words


@pytest.mark.parametrize("state", JobState)
def test_an_output_is_called_live_only_while_its_run_goes_on(state: JobState) -> None:
    run = make_attempt(finished_at=None, outcome=None)
    output = job_view(make_job(state=state), [run], Shown(), NOW).output

    assert output.is_running is (state is JobState.PROCESSING)


async def test_a_long_output_is_shown_from_its_end() -> None:
    end = await shown(b"a" + b"b" * 256 * 1024)
    view = job_view(make_job(), [make_attempt()], end, NOW)

    assert view.output.is_cut
    assert view.output.text == "b" * 256 * 1024


@pytest.mark.parametrize("end", ["", "\n"])
async def test_of_many_short_lines_the_last_are_shown(end: str) -> None:
    raw = ("\n".join(str(number) for number in range(1, 3001)) + end).encode()
    last = "\n".join(str(number) for number in range(1001, 3001)) + end

    assert await shown(raw) == Shown(last, is_cut=True)
    assert await shown(raw[-8000:]) == Shown(raw[-8000:].decode())


def test_an_output_follows_until_its_job_is_finished() -> None:
    runs = [make_attempt(number=1), make_attempt(number=2)]
    failed = make_job(state=JobState.FAILED)

    assert job_view(failed, runs, Shown(), NOW).output.is_live
    assert not job_view(failed, runs, Shown(), NOW, chosen=1).output.is_live
    assert not job_view(make_job(state=JobState.DEAD), runs, Shown(), NOW).output.is_live


def test_values_of_variables_are_not_shown() -> None:
    view = job_view(make_job(env={"TOKEN": "secret-value"}), [], Shown(), NOW)

    assert "secret-value" not in repr(view)
    assert "TOKEN" in repr(view)


def test_workers_are_told_apart() -> None:
    workers = [
        make_worker(id=f"w{n}", state=state, busy=1) for n, state in enumerate(WorkerState, 1)
    ]
    view = fleet_view(workers, NOW)

    assert view.alive == 4
    assert view.summary == "4 workers, 4 of 16 slots busy"
    assert {row.state: set(row.can) for row in view.workers} == {
        "running": {"drain", "stop"},
        "draining": {"drain", "stop"},
        "stopping": {"stop"},
        "unresponsive": {"drain", "stop"},
        "dead": set(),
    }


def test_what_shows_that_a_worker_is_alive_is_said_and_since_when() -> None:
    def pulse(state: WorkerState) -> str:
        worker = make_worker(state=state, started_at=NOW - 7200 * SECOND)
        return fleet_view([worker], NOW).workers[0].pulse

    assert pulse(WorkerState.RUNNING) == "alive for 2 h: it holds its lock"
    assert pulse(WorkerState.UNRESPONSIVE) == "alive for 2 h: it holds its lock"
    assert pulse(WorkerState.DEAD) == "dead: nobody holds its lock"


def test_the_config_says_what_differs() -> None:
    view = config_view(make_settings(max_retries=5).values)
    rows = {row.key: row for row in view.settings}

    assert (view.changed, rows["max-retries"].value, rows["max-retries"].is_default) == (
        1,
        "5",
        False,
    )
    assert rows["max-output-bytes"].said == "1.0 GiB"
    assert (rows["event-retention"].said, rows["timeout-sec"].said) == ("7 d", "1 h")
    assert (rows["worker-poll-interval"].said, rows["max-retries"].said) == ("", "")
    assert rows["on-crash"].choices == ("adopt", "kill", "dead")


def test_a_refused_value_stays_in_its_field() -> None:
    view = config_view(
        make_settings().values, refused=Refused(key="priority", value="high", message="no")
    )
    rows = {row.key: row for row in view.settings}

    assert (rows["priority"].value, rows["priority"].problem) == ("high", "no")
    assert all(not row.problem for key, row in rows.items() if key != "priority")


def test_a_refused_job_blames_its_field() -> None:
    view = enqueue_view({"command": "x", "timeout": "soon"}, problem="no", field="timeout")
    blamed = [field.name for field in view.fields if field.problem]

    assert (blamed, view.problem, view.is_open) == (["timeout"], "", True)
    assert enqueue_view({"command": "x"}, problem="no", field="env").problem == "no"
    assert not enqueue_view({}).is_open


def test_a_database_says_what_takes_room() -> None:
    view = database_view(make_info(), None, NOW, jobs=1000)
    sizes = {name: size for name, size, _ in view.parts}

    assert sizes == {
        "database": "1000.0 KiB",
        "free inside": "250.0 KiB",
        "log": "512 B",
        "outputs": "0 B",
    }
    assert view.used == "75 % of the file holds rows"
    assert view.findings is None


def test_a_database_of_no_size_is_shown_too() -> None:
    assert database_view(make_info(size_bytes=0, free_bytes=0), [], NOW, jobs=0).used.startswith(
        words.NOTHING
    )


def test_what_destroys_names_what_it_is_about() -> None:
    view = confirm_view(
        "delete",
        QueryParams([("job", f"j{n}") for n in range(25)] + [("back", "/jobs"), ("evil", "x")]),
        jobs=[SeenJob(id=f"j{n}") for n in range(25)],
    )

    assert view.asked.question == "Delete 25 jobs?"
    assert (len(view.names), view.more, view.back) == (20, 5, "/jobs")
    assert {name for name, _ in view.fields} == {"job"}
    assert len(view.fields) == 25


def test_what_is_asked_about_is_what_is_sent() -> None:
    stop = confirm_view("stop", QueryParams([("job", "innocent"), ("worker", "w1")]))
    twice = confirm_view(
        "delete",
        QueryParams([("job", "a@1"), ("job", "a@1"), ("job", "")]),
        jobs=seen_jobs(["a@1", "a@1", ""]),
    )

    assert (stop.names, stop.fields) == (("w1",), (("worker", "w1"),))
    assert twice.asked.question == "Delete 1 job?"
    assert (twice.names, twice.fields) == (("a",), (("job", "a@1"),))


@pytest.mark.parametrize(
    ("action", "query"),
    [
        ("purge", "state=dead&older_than=abc"),
        ("purge", "state=dead&older_than=1e99"),
        ("purge", "state=pending&older_than=7d"),
        ("dlq_purge", "all=no"),
        ("delete", "job="),
    ],
)
def test_nothing_is_asked_that_would_be_refused(action: str, query: str) -> None:
    with pytest.raises(InvalidValueError):
        confirm_view(action, QueryParams(query))


@pytest.mark.parametrize(
    "action", ["delete", "cancel", "stop", "purge", "dlq_purge", "retry", "nonsense", ""]
)
def test_nothing_is_asked_about_nothing(action: str) -> None:
    with pytest.raises(InvalidValueError):
        confirm_view(action, QueryParams())


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, None),
        ({"done": "retried", "count": "1"}, "1 job went back to the queue."),
        ({"done": "purged", "count": "12000"}, "12,000 jobs deleted."),
        (
            {"done": "draining", "count": "2"},
            "2 workers will leave when their running jobs are done.",
        ),
        (
            {"done": "draining", "count": "1"},
            "1 worker will leave when its running jobs are done.",
        ),
        (
            {"done": "stopping", "count": "1"},
            "1 worker will end its running jobs, give them back, and leave.",
        ),
        ({"done": "none", "count": "0"}, "Nothing was selected: tick some jobs first."),
        ({"done": "purged", "count": "9" * 5000}, "1 job deleted."),
        ({"done": "purged", "count": "-1"}, "1 job deleted."),
        (
            {"done": "deleted", "count": "2", "skipped": "1"},
            (
                "2 jobs deleted. 1 job skipped: gone or changed meanwhile, or in a state"
                " that does not allow it."
            ),
        ),
        ({"done": "deleted", "count": "2", "skipped": "<b>"}, "2 jobs deleted."),
        ({"done": "<b>"}, None),
    ],
)
def test_a_notice_is_made_of_a_code_and_a_number(query: dict[str, str], told: str | None) -> None:
    assert notice(query) == told


def test_a_query_that_makes_no_sense_is_refused() -> None:
    for given in ("x", "-1", "0", "1.5", "9" * 19, "٣", "9" * 5000, "0" * 20 + "9" * 4400):
        with pytest.raises(InvalidValueError):
            params.number({"before": given}, "before")

    with pytest.raises(InvalidValueError):
        params.state({"state": "nonsense"}, "state")


def test_a_step_of_a_search_is_what_the_engine_reads() -> None:
    assert search.STEP == MOST_READ


def test_a_query_is_read() -> None:
    assert params.number({"before": "12"}, "before") == 12
    assert params.number({}, "before") is None
    assert params.state({"state": "dead"}, "state") is JobState.DEAD
    assert params.text({"tag": "  a "}, "tag") == "a"
    assert params.text({"tag": " "}, "tag") is None


def test_a_job_that_is_not_there_leads_to_those_that_are() -> None:
    view = error_view(404, "no job has this id: x", is_of_jobs=True)

    assert (view.is_of_jobs, "queuectl list" in view.hint) == (True, False)
    assert not error_view(404).is_of_jobs


def test_an_error_has_words_of_its_own() -> None:
    assert "pruned" in error_view(404).hint
    assert error_view(418).title
    assert error_view(401).asks_token
    assert error_view(421).is_stranger
    assert not error_view(404).is_stranger
