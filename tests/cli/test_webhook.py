"""``webhook``."""

import asyncio
import os
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.cli.program import Queuectl, Result, run_process
from tests.receiver import answers, receiving

URL = "https://example.com/hook"
SECRET = "whsec_" + "A" * 32


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def test_what_is_added_is_shown_with_its_secret_once(queuectl: Queuectl) -> None:
    added, secret = queuectl.ok("webhook", "add", URL).out.splitlines()

    assert added == "Added webhook: wh1"
    assert secret.startswith("secret  whsec_")
    key = secret.removeprefix("secret  ")
    assert Webhook(key)
    for arguments in (["list"], ["list", "--json"], ["deliveries", "--json"]):
        assert key not in queuectl.ok("webhook", *arguments).out


def test_states_and_tags_are_chosen(queuectl: Queuectl) -> None:
    options = ["--on", "completed,dead", "--on", "failed", "--tag", "a", "--tag", "b"]

    new = queuectl.json("webhook", "add", URL, *options)

    assert (new["on"], new["tags"]) == (["completed", "failed", "dead"], ["a", "b"])
    assert new["secret"].startswith("whsec_")
    [listed] = queuectl.json("webhook", "list")
    assert listed == {key: value for key, value in new.items() if key != "secret"}


def test_the_list_is_a_table_json_or_ids(queuectl: Queuectl) -> None:
    queuectl.ok("webhook", "add", URL, "--on", "dead", "--tag", "nightly")

    table = queuectl.ok("webhook", "list").out

    assert table.splitlines()[1].split() == ["wh1", "enabled", "0", "0", "dead", "nightly", URL]
    assert queuectl("webhook", "list", "-q") == Result(0, "wh1\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://example.com"], "http can be read by all on the way"),
        (["https://user:pass@example.com"], "no user and no password in a URL"),
        (["ftp://example.com"], "it is http or https, and has a host"),
        (["https://example.com/a b"], "not a URL that can be called"),
        ([URL, "--on", "pending"], "a webhook is told of one or more of"),
        ([URL, "--on", ","], "a webhook is told of one or more of"),
        ([URL, "--on", "nonsense"], "dead, cancelled; not of 'nonsense'"),
        ([URL, "--tag", ""], "not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(
    queuectl: Queuectl, arguments: list[str], words: str
) -> None:
    result = queuectl.error("webhook", "add", *arguments)

    assert result.code == 2
    assert words in result.err
    assert queuectl.json("webhook", "list") == []


def test_http_is_for_this_machine_or_on_purpose(queuectl: Queuectl) -> None:
    queuectl.ok("webhook", "add", "http://127.0.0.1:8000/x")
    queuectl.ok("webhook", "add", "http://10.0.0.1/x", "--insecure")


def test_a_secret_comes_from_a_file_of_its_owner_alone(queuectl: Queuectl, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o644)
    assert "chmod 600" in queuectl.error("webhook", "add", URL, "--secret-file", str(path)).err

    path.chmod(0o600)
    added = queuectl.json("webhook", "add", URL, "--secret-file", str(path))
    assert added["secret"] == SECRET

    path.write_text("hush\n")
    result = queuectl.error("webhook", "add", URL, "--secret-file", str(path))
    assert (result.code, "hush" in result.err) == (2, False)
    assert queuectl("webhook", "add", URL, "--secret-file", "/no/such/file").code == 1


def test_a_secret_in_what_is_no_file_is_refused(queuectl: Queuectl, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    for path in (tmp_path, pipe):
        result = queuectl.error("webhook", "add", URL, "--secret-file", str(path))
        assert "the secret is not in a file" in result.err


def test_what_is_removed_is_gone(queuectl: Queuectl) -> None:
    queuectl.ok("webhook", "add", URL)

    assert queuectl.ok("webhook", "remove", "wh1").out == "Removed webhook: wh1\n"
    assert queuectl.json("webhook", "list") == []
    assert queuectl.error("webhook", "remove", "wh1").code == 3


@pytest.mark.parametrize("command", ["remove", "enable", "test", "deliveries"])
@pytest.mark.parametrize(
    "name", ["wh7", "7", "", "wh", "wh-1", "wh99999999999999999999", "\x1b[31m"]
)
def test_a_webhook_that_is_not_there_is_said_to_be_missing(
    queuectl: Queuectl, command: str, name: str
) -> None:
    result = queuectl.error("webhook", command, name)

    assert result.code == 3
    assert "no such webhook" in result.err
    assert "\x1b" not in result.err


def drain(queuectl: Queuectl) -> None:
    """Run what is due, and send what is to be told of it."""
    ended = run_process("--db", str(queuectl.database), "worker", "start", "--drain")
    assert ended.code == 0, ended.err


async def test_deliveries_are_made_listed_given_up_and_retried(queuectl: Queuectl) -> None:
    async with receiving() as receiver:
        url = receiver.does("/", answers(410), answers())

        def begin() -> None:
            queuectl.ok("webhook", "add", url)
            queuectl.ok("enqueue", "--id", "job1", "--command", "true")
            drain(queuectl)

        await asyncio.to_thread(begin)

        def look() -> None:
            [dead] = queuectl.json("webhook", "deliveries", "--dead")
            assert (dead["job_id"], dead["type"]) == ("job1", "job.completed")
            assert (dead["status"], dead["reason"]) == (410, "status=410")
            table = queuectl.ok("webhook", "deliveries", "wh1").out
            assert dead["id"] in table
            assert queuectl.ok("webhook", "deliveries", "-q").out == f"{dead['id']}\n"
            assert "disabled: status=410" in queuectl.ok("webhook", "list").out
            assert queuectl.ok("webhook", "enable", "wh1").out == "Enabled webhook: wh1\n"
            retried = queuectl.ok("webhook", "retry", dead["id"])
            assert retried.out == "Retrying 1 delivery\n"
            assert queuectl.json("webhook", "retry", "--all") == {"retried": 0}
            drain(queuectl)
            assert queuectl.json("webhook", "deliveries")[0]["state"] == "delivered"
            assert queuectl.error("webhook", "retry", dead["id"]).code == 4

        await asyncio.to_thread(look)


def test_retry_wants_to_know_which(queuectl: Queuectl) -> None:
    assert queuectl.error("webhook", "retry").code == 2
    assert queuectl.error("webhook", "retry", "msg_1", "--all").code == 2
    assert queuectl.error("webhook", "retry", "msg_1").code == 3
    assert queuectl.error("webhook", "retry", "--webhook", "wh1").code == 3


async def test_a_test_says_what_came_of_it(queuectl: Queuectl) -> None:
    async with receiving() as receiver:
        url = receiver.does("/", answers(), answers(500))

        def do() -> None:
            queuectl.ok("webhook", "add", url)
            assert queuectl.ok("webhook", "test", "wh1").out.startswith(
                "wh1: delivered, status=200"
            )
            failed = queuectl("webhook", "test", "wh1")
            assert failed.code == 1
            assert failed.out.startswith("wh1: failed: status=500, in ")
            as_json = queuectl("webhook", "test", "wh1", "--json")
            assert as_json.code == 1
            assert as_json.json["is_delivered"] is False

        await asyncio.to_thread(do)
