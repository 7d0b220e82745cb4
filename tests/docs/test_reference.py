"""Holds the pages of the docs against the program."""

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import queuectl
from queuectl.cli.errors import ExitCode
from queuectl.engine.domain.events import STATE_AFTER
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import TERMINAL, TRANSITIONS
from queuectl.engine.errors import QueueCtlError

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PACKAGE: Final = ROOT / "queuectl"

# Those that a module looks at, and those that the engine sets for a command.
_VARIABLE: Final = re.compile(r"environ(?:\.get\(|\[)\s*[\"'](\w+)|\b(_?QUEUECTL_[A-Z_]*[A-Z])\b")

Read = Callable[[str], str]


@pytest.fixture
def generate() -> ModuleType:
    """Return ``docs/generate.py``, which is a script and not in a package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def modules() -> list[str]:
    return sorted(
        str(path.relative_to(PACKAGE))
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sql")]
        if path.name != "__init__.py"
    )


def table(text: str, *, under: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its head."""
    _, found, rest = f"\n{text}".partition(f"\n{under}\n")
    assert found, f"no heading {under}"
    lines = iter(rest.splitlines())
    rows: list[list[str]] = []

    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break

    return rows[2:]


# Generated pages


def test_the_generated_pages_are_fresh(generate: ModuleType) -> None:
    stale = [
        path.name for path, text in generate.pages().items() if path.read_text("utf-8") != text
    ]

    assert stale == [], "run: python docs/generate.py"


def test_a_stale_page_is_found_and_written_anew(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(DOCS / "reference", tmp_path / "reference")
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    monkeypatch.setattr(generate, "REFERENCE", tmp_path / "reference")
    config = tmp_path / "reference" / "config.md"
    fresh = config.read_text(encoding="utf-8")
    config.write_text(fresh.replace("max-retries", "most-retries"), encoding="utf-8")
    # What stands outside of the comments is the writer's.
    config.write_text(config.read_text("utf-8").replace("# Config", "# The config", 1), "utf-8")

    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0

    def table_of(text: str) -> str:
        return text.partition("<!-- generated")[2].partition("<!-- end")[0]

    assert table_of(config.read_text("utf-8")) == table_of(fresh)
    assert config.read_text("utf-8").startswith("# The config")


def test_a_page_that_lost_its_comments_is_an_error(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match="keys are missing"):
        generate.replace_part("no comments", "keys", "content")


# Everything is documented


def test_every_command_and_every_option_is_documented(generate: ModuleType) -> None:
    text = page("reference/commands.md")
    sections = {
        part.partition("\n")[0]: part
        for part in re.split(r"^#+ (?=queuectl)", text, flags=re.MULTILINE)
    }
    walked = list(generate.walk())

    assert len(walked) > 20
    for path, command in walked:
        section = sections[" ".join(("queuectl", *path))]
        missing = [
            name
            for parameter in command.params
            if parameter.param_type_name == "option" and not parameter.hidden
            for name in parameter.opts
            if f"`{name}`" not in section
        ]
        assert missing == []
        assert command.help, f"{path} says nothing"
        assert all(parameter.help for parameter in command.params), f"{path} has a silent option"


def test_every_config_key_is_documented() -> None:
    rows = {row[0]: row for row in table(page("reference/config.md"), under="## Keys")}
    explained = page("reference/config.md").partition("## When a change is seen")[2]

    assert rows.keys() == queuectl.SETTINGS.keys()
    for key, setting in queuectl.SETTINGS.items():
        assert rows[key][1] == str(setting.default)
        assert f"`{key}`" in explained


def test_every_public_name_is_documented() -> None:
    text = page("reference/api.md")
    documented = set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)$", text, flags=re.MULTILINE))
    kit = importlib.import_module("queuectl.engine.testing").__all__

    assert documented == {*queuectl.__all__, *kit}


def test_every_error_is_public_and_has_an_exit_code() -> None:
    def classes(kind: type[QueueCtlError]) -> set[str]:
        # Not those of the dashboard, which other tests may have imported: only its
        # own command meets them.
        engine = [kid for kid in kind.__subclasses__() if "queuectl.engine." in kid.__module__]
        return {kind.__name__}.union(*map(classes, engine))

    rows = table(page("reference/exit-codes.md"), under="## From errors to codes")
    codes = {str(int(code)) for code in ExitCode}

    assert classes(QueueCtlError) <= set(queuectl.__all__)
    assert {row[0].rpartition(".")[2].strip("`") for row in rows} == classes(QueueCtlError)
    assert {row[1] for row in rows} <= codes


def test_every_exit_code_is_documented() -> None:
    rows = table(page("reference/exit-codes.md"), under="# Exit codes")

    assert [row[0] for row in rows] == [str(int(code)) for code in ExitCode]


def test_every_environment_variable_is_documented() -> None:
    named = {
        name
        for path in PACKAGE.rglob("*.py")
        for found in _VARIABLE.findall(path.read_text(encoding="utf-8"))
        for name in found
        if name
    }
    text = page("reference/environment.md")

    assert {"QUEUECTL_DB", "QUEUECTL_ATTEMPT", "NO_COLOR"} <= named
    assert [name for name in sorted(named) if f"`{name}`" not in text] == []


def test_every_key_of_a_record_is_documented(generate: ModuleType) -> None:
    text = page("reference/json.md")

    for record in (*generate.RECORDS, queuectl.JobInput):
        section = text.partition(f"\n## {record.__name__}\n")[2].partition("\n## ")[0]
        keys = [key for key in record.__struct_fields__ if f"| `{key}` |" not in section]

        if record is queuectl.JobDetailRecord:
            keys = [key for key in keys if key not in queuectl.JobRecord.__struct_fields__]

        assert keys == []


# The life of a job

LIFECYCLE: Final = "explanation/lifecycle.md"
EDGES: Final = sorted((a.value, b.value) for a, after in TRANSITIONS.items() for b in after)


def test_the_table_of_moves_is_the_state_machine() -> None:
    rows = table(page(LIFECYCLE), under="## Moves")

    assert sorted((row[0], row[1]) for row in rows) == EDGES


def test_the_chart_shows_the_state_machine() -> None:
    chart = page("explanation/lifecycle.svg")
    drawn = re.findall(r'data-from="(\w+)" data-to="(\w+)"', chart)
    boxes = re.findall(r"<text [^>]*>(\w+)</text>", chart)

    assert sorted(drawn) == EDGES
    assert {state.value for state in TRANSITIONS} <= set(boxes)
    # Finished states have thick boxes.
    assert chart.count('stroke-width="2.6"') == len(TERMINAL)


def test_states_outcomes_and_events_are_explained() -> None:
    text = page(LIFECYCLE)
    states = re.findall(r"^(\w+)\n: ", text, flags=re.MULTILINE)
    events = table(text, under="## Events")

    assert states == [state.value for state in TRANSITIONS_IN_ORDER]
    assert sorted(row[0] for row in table(text, under="## Outcomes")) == sorted(OutcomeKind)
    assert {row[0]: row[1] for row in events} == {
        kind.value: state.value for kind, state in STATE_AFTER.items()
    }


TRANSITIONS_IN_ORDER: Final = tuple(queuectl.JobState)


# Architecture


def test_the_architecture_names_every_module_and_no_other() -> None:
    named = re.findall(
        r"^\| `((?:\w+/)+\w+\.(?:py|sql))` \|",
        page("explanation/architecture.md"),
        flags=re.MULTILINE,
    )

    def full(name: str) -> str:
        rooms = ("domain/", "store/", "runtime/")
        return f"engine/{name}" if name.startswith(rooms) else name.removeprefix("queuectl/")

    assert sorted(map(full, named)) == modules()


# All pages


def test_no_page_names_a_machine() -> None:
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    found = [
        f"{path.name}: {match[0]}"
        for path in pages
        for match in re.finditer(r"/(?:home|Users|root|tmp|work)/\w+", path.read_text("utf-8"))
    ]

    assert found == []
