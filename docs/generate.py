"""
Writes the parts of the reference that the program itself knows best.

``python docs/generate.py`` rewrites them, ``python docs/generate.py --check`` says
which are out of date. A generated part of a page stands between two comments.
"""  # noqa: INP001 (a script beside the pages, not a package)

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

import queuectl
from queuectl.cli import look, top_record
from queuectl.cli.errors import explain
from queuectl.cli.program import app

# typer's own classes, which are private in some of its versions.
Command = Any
Parameter = Any
Context = Any

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"

RECORDS = (
    queuectl.JobRecord,
    queuectl.JobDetailRecord,
    queuectl.AttemptRecord,
    queuectl.StatusRecord,
    queuectl.ActivityRecord,
    queuectl.SpreadRecord,
    queuectl.WorkerRecord,
    queuectl.EventRecord,
    queuectl.CauseRecord,
    queuectl.DatabaseRecord,
    queuectl.FindingRecord,
    queuectl.WebhookRecord,
    queuectl.NewWebhookRecord,
    queuectl.WebhookTestRecord,
    queuectl.DeliveryRecord,
    queuectl.JobMessage,
    top_record.TopRecord,
    top_record.RunningRecord,
    top_record.FailureRecord,
)

# Where the meaning of a record's keys is written down.
MODELS = {
    "JobRecord": queuectl.Job,
    "JobDetailRecord": queuectl.Job,
    "AttemptRecord": queuectl.Attempt,
    "StatusRecord": queuectl.QueueStats,
    "ActivityRecord": queuectl.Activity,
    "SpreadRecord": queuectl.Spread,
    "WorkerRecord": queuectl.WorkerInfo,
    "EventRecord": queuectl.Event,
    "CauseRecord": queuectl.Cause,
    "DatabaseRecord": queuectl.DatabaseInfo,
    "FindingRecord": queuectl.Finding,
    "WebhookRecord": queuectl.Webhook,
    "NewWebhookRecord": queuectl.NewWebhook,
    "WebhookTestRecord": queuectl.WebhookTest,
    "DeliveryRecord": queuectl.Delivery,
    "JobMessage": queuectl.JobMessage,
    "TopRecord": look.Look,
    "RunningRecord": look.RunningJob,
    "FailureRecord": look.Failure,
    "JobInput": queuectl.JobSpec,
}

# Records that have everything that another one has, and more.
BASES = {
    "JobDetailRecord": "JobRecord",
    "NewWebhookRecord": "WebhookRecord",
    "RunningRecord": "JobRecord",
    "TopRecord": "StatusRecord",
}

# Keys that are named otherwise than what they show.
MEANINGS = {
    ("JobRecord", "env_names"): "Names of the variables that the job adds to the environment.",
    ("JobDetailRecord", "runs"): "Its attempts, the first one first.",
    ("AttemptRecord", "attempt"): "1 for the first run; rises by one with every start.",
    ("AttemptRecord", "duration_sec"): "How long it took; null while it runs.",
    ("StatusRecord", "dlq"): "Jobs in the dead letter queue: the number of dead jobs.",
    ("StatusRecord", "activity"): "By `minute`, `hour` and `day`: what happened in the last one.",
    ("ActivityRecord", "ended"): "All runs that ended, however they did.",
    ("ActivityRecord", "completed"): "Runs that succeeded.",
    (
        "ActivityRecord",
        "failed",
    ): "Runs that failed, timed out, were lost with their worker or could not be started.",
    ("ActivityRecord", "per_second"): "Runs that ended, per second.",
    ("JobMessage", "type"): "`job.` and the state that the job has come into.",
    ("JobMessage", "timestamp"): "When it came into it.",
    ("JobMessage", "data"): "The job as it was then.",
    ("EventRecord", "state"): "The state that the job is in from here on.",
    ("JobInput", "timeout_sec"): "The same as `timeout`.",
    ("JobInput", "base_backoff"): "The same as `backoff_base`.",
    ("JobInput", "state"): "Only `pending`; a new job is nothing else.",
    ("JobInput", "attempts"): "Only 0; a new job has no attempts.",
    ("JobInput", "created_at"): "A time; not kept, the queue sets it.",
    ("JobInput", "updated_at"): "A time; not kept, the queue sets it.",
}


def pages() -> dict[Path, str]:
    """Return every generated file with the text that it should have."""
    files = {REFERENCE / "schema.json": schema_file()}

    for page, parts in PARTS.items():
        path = REFERENCE / page
        text = path.read_text(encoding="utf-8")

        for name, make in parts.items():
            text = replace_part(text, name, make())

        files[path] = text

    return files


def replace_part(text: str, name: str, content: str) -> str:
    """Put a generated part between its comments."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)

    if not found or not closed:
        msg = f"the comments around {name} are missing"
        raise ValueError(msg)

    return f"{head}{begin}\n\n{content.strip()}\n\n{end}{tail}"


# Commands


def commands() -> str:
    """Describe every command."""
    return "\n\n".join(_command(path, command) for path, command in walk())


def walk() -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield every command with its words, a group before what is in it."""
    yield from _walk((), typer.main.get_command(app))


def _walk(path: tuple[str, ...], command: Command) -> Iterator[tuple[tuple[str, ...], Command]]:
    if command.hidden:
        return

    yield path, command

    for name, child in getattr(command, "commands", {}).items():
        yield from _walk((*path, name), child)


def _command(path: tuple[str, ...], command: Command) -> str:
    words = " ".join(("queuectl", *path))
    context = command.context_class(command, info_name=words)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    lines = [f"{'#' * min(len(path) + 2, 4)} {words}", "", _prose(command.help)]
    lines += ["", "```text", usage, "```"]

    for kind in ("argument", "option"):
        rows = [
            _parameter(parameter, context)
            for parameter in command.params
            if parameter.param_type_name == kind and not parameter.hidden
        ]

        if rows:
            lines += ["", f"| {kind} | meaning |", "|---|---|", *rows]

    if command.epilog:
        lines += ["", "```text", inspect.cleandoc(command.epilog.replace("\b\n", "")), "```"]

    return "\n".join(lines)


def _parameter(parameter: Parameter, context: Context) -> str:
    if parameter.param_type_name == "argument":
        return f"| {_cell(f'`{parameter.make_metavar(context)}`')} | {_cell(parameter.help)} |"

    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else f" `{parameter.make_metavar(context)}`"
    notes = []

    if parameter.envvar:
        notes.append(f"Variable: `{parameter.envvar}`.")

    if not parameter.is_flag and parameter.default not in {None, "", ()}:
        notes.append(f"Default: `{parameter.default}`.")

    return f"| {names}{value} | {_cell(' '.join([parameter.help or '', *notes]))} |"


# Config


def config() -> str:
    """List the config keys."""
    rows = [
        f"| `{setting.key}` | {setting.default} | {setting.range} |"
        f" {_names(setting.aliases)} | {_cell(setting.meaning)} |"
        for setting in queuectl.SETTINGS.values()
    ]
    return "\n".join(
        ["| key | default | values | other names | meaning |", "|---|---|---|---|---|", *rows]
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# JSON


def schema() -> dict[str, Any]:
    """Return the JSON schema of what is written and of what is read."""
    _, components = msgspec.json.schema_components(
        [*RECORDS, queuectl.JobInput], ref_template="#/$defs/{name}"
    )

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "queuectl",
        "$defs": {name: _plain(components[name]) for name in sorted(components)},
    }


def schema_file() -> str:
    """Return the JSON schema as a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(component: dict[str, Any]) -> dict[str, Any]:
    description = component.get("description", "")

    return {**component, "description": " ".join(description.replace("``", "`").split())}


def record(name: str) -> Callable[[], str]:
    """Return what describes the keys of a record."""

    def describe() -> str:
        properties = schema()["$defs"][name]["properties"]
        inherited = schema()["$defs"][BASES[name]]["properties"] if name in BASES else ()
        meanings = _meanings(name)
        rows = [
            f"| `{key}` | {_type(value)} | {_cell(NONE.sub('null', meanings[key]))} |"
            for key, value in properties.items()
            if key not in inherited
        ]
        return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows])

    return describe


def _type(value: dict[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(_type(choice) for choice in value["anyOf"])

    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return "string" if name == "JobState" else f"[{name}](#{name.lower()})"

    kind = str(value.get("type", "any"))

    if kind == "array":
        return f"array of {_type(value['items'])}"

    if kind == "object" and "additionalProperties" in value:
        return f"object of {_type(value['additionalProperties'])}"

    note = value.get("description")
    return f"{kind} ({note})" if note else kind


def _meanings(name: str) -> dict[str, str]:
    """Return what the docstrings say of a record's keys."""
    meanings = attributes(MODELS[name])

    if name in BASES:
        meanings |= _meanings(BASES[name])

    meanings |= _special(name)

    for key in schema()["$defs"][name]["properties"]:
        short = key.removesuffix("_sec")

        if key not in meanings and short in meanings:
            meanings[key] = meanings[short]

    return meanings


NONE = re.compile(r"\bNone\b")


def _special(name: str) -> dict[str, str]:
    return {key: text for (of, key), text in MEANINGS.items() if of == name}


def attributes(kind: type) -> dict[str, str]:
    """Read the section ``Attributes:`` of a docstring."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    key = ""

    for line in section.splitlines():
        if not line.startswith("    "):
            continue

        if match := re.match(r" {4}(\w+): (.*)", line):
            key, found[match[1]] = match[1], match[2]
        elif key:
            found[key] += f" {line.strip()}"

    return found


# Exit codes


def exit_codes() -> str:
    """Say which error ends a command with which code."""
    rows = [
        f"| {{py:exc}}`queuectl.{kind.__name__}` | {int(explain(kind.__new__(kind)).exit_code)} |"
        for kind in error_classes()
    ]
    return "\n".join(["| error | code |", "|---|---|", *rows])


def error_classes() -> list[type[queuectl.QueueCtlError]]:
    """Return every public exception."""
    public = [getattr(queuectl, name) for name in queuectl.__all__]

    return [
        value
        for value in public
        if isinstance(value, type) and issubclass(value, queuectl.QueueCtlError)
    ]


# Text

# Options within sentences; two dashes would be printed as one long one.
OPTION = re.compile(r"(?<=\s)(--?(?:[a-z][\w-]*)?)(?=[\s,.;:)]|$)", re.MULTILINE)


def _prose(text: str | None) -> str:
    """Turn a docstring into Markdown."""
    # What is between backticks is code already.
    parts = inspect.cleandoc(text or "").replace("``", "`").strip().split("`")
    parts[::2] = [OPTION.sub(r"`\1`", part) for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str | None) -> str:
    """Make text fit into a cell of a table."""
    words = " ".join(_prose(text).split()).replace("|", "\\|")
    return words[:1].upper() + words[1:]


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "commands.md": {"commands": commands},
    "config.md": {"config keys": config},
    "exit-codes.md": {"exit codes": exit_codes},
    "json.md": {kind.__name__: record(kind.__name__) for kind in (*RECORDS, queuectl.JobInput)},
}


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which are out of date."""
    stale = [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]

    for path in stale:
        if arguments == ["--check"]:
            sys.stdout.write(f"out of date: {path.relative_to(DOCS)}\n")
        else:
            path.write_text(pages()[path], encoding="utf-8")
            sys.stdout.write(f"written: {path.relative_to(DOCS)}\n")

    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
