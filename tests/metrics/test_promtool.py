"""
What Prometheus itself says of the metrics, and of what the docs tell to put into its files.

promtool is in Debian's package ``prometheus``; the workshop brings it along.
"""

# ruff: noqa: TID251 (whoever uses a command line starts processes)

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from queuectl import QueueEngine
from queuectl.metrics import render

PROMTOOL: Final = shutil.which("promtool")
GUIDE: Final = Path(__file__).parents[2] / "docs/howto/metrics.md"

pytestmark = pytest.mark.skipif(
    PROMTOOL is None, reason="there is no promtool; it is in Debian's package prometheus"
)

# What the metrics are at each minute, and which alerts there are in the 12th.
_CASES: Final = {
    "all is well": (
        {
            'up{job="queuectl"}': "1x12",
            "queuectl_worker_slots": "4x12",
            "queuectl_queue_oldest_age_seconds": "5x12",
            "queuectl_jobs_dead_total": "3x12",
        },
        [],
    ),
    "the worker does not answer": ({'up{job="queuectl"}': "0x12"}, ["QueueNobodyWorks"]),
    "no worker is alive": ({"queuectl_worker_slots": "0x12"}, ["QueueNobodyWorks"]),
    "a job waits": ({"queuectl_queue_oldest_age_seconds": "700+60x12"}, ["QueueJobsWait"]),
    "a job died": ({"queuectl_jobs_dead_total": "3x8 4x4"}, ["QueueJobsDied"]),
}
_ALERTS: Final = ("QueueNobodyWorks", "QueueJobsWait", "QueueJobsDied")


def promtool(*words: str, stdin: bytes = b"") -> str:
    """Run promtool; fail with its words where it finds anything at all."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], input=stdin, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def block_below(comment: str) -> str:
    """Return the block of the guide that stands below a comment."""
    found = re.search(f"<!-- {comment} -->\n```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_metrics_of_a_new_database_are_as_they_should_be(engine: QueueEngine) -> None:
    assert promtool("check", "metrics", stdin=await render(engine)) == ""


async def test_the_metrics_of_a_used_database_are_as_they_should_be(engine: QueueEngine) -> None:
    await engine.enqueue("true")
    await engine.enqueue("exit 1", max_retries=0)
    await engine.drain()

    assert promtool("check", "metrics", stdin=await render(engine)) == ""


def test_prometheus_takes_the_config_of_the_guide(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(block_below("prometheus config"))

    assert "SUCCESS" in promtool("check", "config", "--syntax-only", str(config))


def test_prometheus_takes_the_alerts_of_the_guide(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(block_below("prometheus rules"))

    assert "SUCCESS: 3 rules found" in promtool("check", "rules", str(rules))


@pytest.mark.parametrize("case", _CASES)
def test_the_alerts_of_the_guide_tell_what_they_should(case: str, tmp_path: Path) -> None:
    series, expected = _CASES[case]
    rules = tmp_path / "rules.yml"
    # Their words are for people; which alerts there are is asked here.
    rules.write_text(re.sub(r"\n +annotations:\n.*", "", block_below("prometheus rules")))
    lines = ["rule_files: [rules.yml]", "tests:", "  - interval: 1m", "    input_series:"]

    for name, values in series.items():
        lines += [f"      - series: '{name}'", f"        values: '{values}'"]

    lines.append("    promql_expr_test:")

    for alert in _ALERTS:
        query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        samples = "[{value: 1}]" if alert in expected else "[]"
        lines += [
            f"      - expr: '{query}'",
            "        eval_time: 11m",
            f"        exp_samples: {samples}",
        ]

    test = tmp_path / "test.yml"
    test.write_text("\n".join(lines) + "\n")

    promtool("test", "rules", str(test))
