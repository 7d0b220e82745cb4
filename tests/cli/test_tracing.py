"""The command line in programs that trace, and in those that do not."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.cli.program import Queuectl, run_words

FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# As opentelemetry-instrument leaves it to the program.
TRACED = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

from queuectl.cli import program
code = program.execute(sys.argv[1:])
print(json.dumps([json.loads(span.to_json()) for span in spans.get_finished_spans()]))
sys.exit(code)
"""


def ids_of(traced: dict[str, Any]) -> list[str]:
    """Return the ids of a trace and of a span, as in TRACEPARENT."""
    return [traced["context"][name].removeprefix("0x") for name in ("trace_id", "span_id")]


def test_a_program_that_is_traced_traces_its_runs(db_path: Path) -> None:
    words = ["--db", str(db_path), "run", "--", "printenv", "TRACEPARENT"]
    result = run_words([sys.executable, "-c", TRACED, *words], env={"TRACEPARENT": FOREIGN})

    known, spans = result.out.splitlines()
    [span] = json.loads(spans)
    [link] = span["links"]
    assert result.code == 0
    assert span["name"] == "queuectl.run"
    assert known.split("-")[1:3] == ids_of(span)
    assert FOREIGN.split("-")[1:3] == ids_of(link)


def test_a_program_that_is_not_traced_loads_nothing_of_it(
    queuectl: Queuectl, db_path: Path
) -> None:
    script = f"""
import sys
from queuectl.cli import program
program.execute(["--db", {str(db_path)!r}, "run", "--id", "job", "--", "true"])
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    result = run_words([sys.executable, "-c", script], env={"TRACEPARENT": FOREIGN})

    assert result.out.splitlines()[-1] == "[]"
    assert queuectl.json("info", "job")["env_names"] == []
