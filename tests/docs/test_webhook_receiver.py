"""The receiver of webhooks that the docs show takes what is sent, and loses nothing of it."""

from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from queuectl.engine.domain.webhook_records import trial_message
from queuectl.engine.runtime.clock import SystemClock
from tests.docs.test_blocks import blocks_of
from tests.examples.programs import ROOT
from tests.factories import NOW

JOB: Final = b'{"type": "job.dead", "timestamp": "2026-11-21T09:00:00.000Z", "data": {"id": "a"}}'


class Shown:
    """The program that the page shows."""

    def __init__(self) -> None:
        page = ROOT / "docs" / "howto" / "webhooks.md"
        [block] = [block for block in blocks_of(page) if block.language == "python"]
        self.names: dict[str, Any] = {}
        exec(block.text, self.names)  # noqa: S102 (the page is ours)
        self._client = TestClient(self.names["app"], raise_server_exceptions=False)

    def post(self, message_id: str, body: bytes, *, signed: bytes | None = None) -> int:
        """Send it a message; return the status that it answers with."""
        now = SystemClock().now()
        text = (body if signed is None else signed).decode()
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self.names["webhook"].sign(message_id, now, text),
        }
        return self._client.post("/hooks/jobs", content=body, headers=headers).status_code


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_it_takes_a_message_once_and_a_test_too(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown.post("msg_0", trial_message("wh1", NOW)) == 204
    assert [shown.post("msg_1", JOB) for _ in range(2)] == [204, 204]
    assert shown.post("msg_2", JOB, signed=b"{}") == 401

    assert capsys.readouterr().out == "job.dead a\n"


def test_it_takes_a_message_again_whose_work_has_failed(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    work = shown.names["work_on"]
    shown.names["work_on"] = None
    assert shown.post("msg_1", JOB) == 500

    shown.names["work_on"] = work
    assert shown.post("msg_1", JOB) == 204
    assert capsys.readouterr().out == "job.dead a\n"
