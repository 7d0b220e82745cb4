"""Text that is made to deceive: what of it reaches a terminal, a log and JSON."""

import json
import sys
import unicodedata
from typing import Final

import pytest

from tests.acceptance.home import Home
from tests.acceptance.terminal import terminal

# Turn the direction of writing: a name that ends in "exe" is shown as one that ends in "png".
TURNS: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"

# Takes no room, and is in no word of any language.
UNSEEN: Final = "\u200b\u2060\ufeff\u00ad\U000e0041"

TRICKS: Final = (
    "\x1b]0;owned\x07",  # the title of the window
    "\x1b]8;;mailto:a@example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H\x1b[8m\x1bc",  # clears the screen, hides, resets
    "\x9b31m\x9d0;owned\x9c\x85\x90q\x9c",  # the same in one character, C1
    "shown\rhidden",
    "shown\b\b\b\b\bhidden",
    "\x07\x0b\x0c\x0e\x7f",
    f"{TURNS}gnp.exe",
    "\u2028\u2029",
    f"zero{UNSEEN}width",
)
HOSTILE: Final = "".join(TRICKS)
FORGED: Final = "2026-01-01T00:00:00Z completed forged"

# What a job writes; a terminal that does not take UTF-8 reads the raw bytes as C1.
BYTES: Final = HOSTILE.encode() + b" \x9b2J\x9d0;owned\x9c\x85 \x00 \xff\xfe\xc3 \xed\xa0\x80\n"

NEVER: Final = ("", ".", "..", "../../x", ".a", "-rf", "--help", "/etc/passwd", "a/b", "a b")
NEVER_EITHER: Final = ("a\n", "a\tb", "\u202ea", "a\u200bb", "\u5b50", "\U0001f600", "\x1b[2J")
TOO_LONG: Final = ("a" * 129, "a" * 10_240)
LEGAL: Final = ("a..b", "A:b", "0", "a-", "a--b", "a.", "CON", "nul.txt", "C:", "1.lock", "w" * 128)

# Runs commands one after the other in one process, and writes down how they exit.
EXECUTE: Final = """
import json, sys
from pathlib import Path
from queuectl.cli.program import execute

codes = []
for number, words in enumerate(json.loads(Path(sys.argv[1]).read_text())):
    print(f"<<{number}>>", flush=True)
    codes.append(execute(words))
    sys.stdout.flush()

Path(sys.argv[2]).write_text(json.dumps(codes))
print("<<end>>", flush=True)
"""


def steering(shown: bytes) -> set[str]:
    """Name the characters that steer a terminal, or the reader's eye."""
    kinds = {"Cc", "Cs", "Zl", "Zp"}
    # A terminal's driver begins a new line with both.
    text = shown.replace(b"\r\n", b"\n").decode(errors="surrogateescape")
    bad = {each for each in text if unicodedata.category(each) in kinds or each in TURNS}
    return {f"U+{ord(each):04X}" for each in bad - {"\n", "\t"}}


async def fill(home: Home) -> None:
    """Make a queue in which every field that takes text has hostile text."""
    home.file("bytes").write_bytes(BYTES)
    await home.enqueue(
        {"id": "command", "command": f": '{HOSTILE}'\n: {FORGED}"},
        {"id": "output", "command": "cat bytes; exit 3", "max_retries": 0},
        {"id": "folder", "command": "true", "cwd": f"/{HOSTILE}\n{FORGED}", "max_retries": 0},
        {"id": "env", "command": "true", "env": {"WORD": HOSTILE}},
        {"id": "waiting", "command": "true", "delay": "1d"},
        {"id": "running", "command": "echo x >> began; sleep 600"},
    )
    await home.ok("cancel", "waiting", "--reason", f"{HOSTILE}\n{FORGED}")


async def execute_at_terminal(home: Home, commands: list[list[str]]) -> dict[str, bytes]:
    """Run commands at a terminal; return what each showed there."""
    asked, told = home.file("asked"), home.file("told")
    asked.write_text(json.dumps(commands))
    home.environ |= {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100000"}
    words = ("-c", EXECUTE, asked, told)

    async with terminal(home, sys.executable, *words) as window:
        await window.shows("<<end>>")
        assert await window.program.ended() == 0
        shown = window._shown

    pieces = [piece.partition(b">>\r\n")[2] for piece in shown.split(b"\r\n<<") if piece]
    assert len(json.loads(told.read_text())) == len(commands)
    return {" ".join(words): piece for words, piece in zip(commands, pieces, strict=False)}


async def execute(home: Home, commands: list[list[str]]) -> tuple[list[int], str]:
    """Run commands in a pipe; return how each exited, and all that they said."""
    asked, told = home.file("asked"), home.file("told")
    asked.write_text(json.dumps(commands))
    program = await home.start_python("-c", EXECUTE, asked, told)
    assert await program.ended(40) == 0
    return json.loads(told.read_text()), program.out + program.err


async def run_all(home: Home) -> str:
    """Run the hostile jobs by a detached worker; return what it wrote into its log file."""
    worker = await home.json("worker", "start", "--detach", "--count", "4")
    await home.run("wait", "command", "output", "folder", "env", "--timeout", "15")
    await home.has_lines("began")
    await home.ok("cancel", "running", "--reason", f"{HOSTILE}\n{FORGED}")
    await home.run("wait", "running", "--timeout", "15")
    await home.ok("worker", "stop", "--timeout", "15")
    return (home.state / "logs" / f"{worker['id']}.log").read_bytes().decode()


LOOKS: Final = [
    *(["info", name] for name in ("command", "output", "folder", "env", "waiting", "running")),
    ["list"],
    ["list", "--state", "dead"],
    ["dlq", "list"],
    ["status"],
    ["worker", "list"],
    ["logs", "output"],
    ["logs", "-n", "3", "output"],
    ["logs", "-f", "output"],
    ["wait", "folder", "waiting", "running"],
    ["delete", "output", HOSTILE],
    ["dlq", "retry", "folder"],
    ["worker", "start", "--drain"],
]

MISTAKES: Final = [
    ["enqueue", "--id", HOSTILE, "--", "true"],
    ["enqueue", "--tag", HOSTILE, "--", "true"],
    ["enqueue", "--env", HOSTILE, "--", "true"],
    ["enqueue", "--env", f"{HOSTILE}=1", "--", "true"],
    ["enqueue", "--delay", HOSTILE, "--", "true"],
    ["enqueue", "--file", HOSTILE],
    ["enqueue", HOSTILE],
    ["enqueue", json.dumps({"command": "true", HOSTILE: 1})],
    ["enqueue", json.dumps([{"command": "true", "id": HOSTILE}])],
    ["run", "--cwd", f"/{HOSTILE}", "--", "true"],
    ["run", "--id", HOSTILE, "--", "true"],
    *([name, HOSTILE] for name in ("info", "logs", "cancel", "retry", "delete", "wait")),
    ["dlq", "retry", HOSTILE],
    ["list", "--tag", HOSTILE],
    ["list", "--state", HOSTILE],
    ["config", "set", HOSTILE, "1"],
    ["config", "set", "priority", HOSTILE],
    ["config", "get", HOSTILE],
    ["worker", "stop", HOSTILE],
    ["db", "backup", f"/missing/{HOSTILE}"],
    ["--db", f"/missing/{HOSTILE}", "list"],
    ["--db", f"{HOSTILE}://host", "list"],
    [HOSTILE],
    [f"--{HOSTILE}"],
    ["list", f"--{HOSTILE}"],
]


async def test_nothing_that_is_shown_steers_the_terminal(home: Home) -> None:
    await fill(home)
    await run_all(home)
    commands = [each for look in LOOKS[:-3] for each in (look, [*look, "--json"])]

    shown = await execute_at_terminal(home, [*commands, *LOOKS[-3:]])

    found = {words: steering(piece) for words, piece in shown.items()}
    assert {words: bad for words, bad in found.items() if bad} == {}
    # It was there to be shown.
    assert all(b"owned" in piece for words, piece in shown.items() if "logs" in words)
    assert sum(b"owned" in piece for piece in shown.values()) > 20


async def test_what_takes_no_room_is_made_visible(home: Home) -> None:
    await home.enqueue({"id": "a", "command": f": {UNSEEN}", "cwd": f"/{UNSEEN}"})
    await home.ok("cancel", "a", "--reason", UNSEEN)
    commands = [["list"], ["info", "a"], ["wait", "a"], ["delete", UNSEEN]]

    shown = await execute_at_terminal(home, commands)

    found = {words: set(UNSEEN) & set(piece.decode()) for words, piece in shown.items()}
    assert found == {words: set() for words in shown}


async def test_no_error_steers_the_terminal(home: Home) -> None:
    await home.enqueue({"id": "any", "command": "true"})
    commands = [each for words in MISTAKES for each in (words, [*words[:1], "--json", *words[1:]])]

    shown = await execute_at_terminal(home, commands)

    found = {words: steering(piece) for words, piece in shown.items()}
    assert {words: bad for words, bad in found.items() if bad} == {}
    assert sum(b"owned" in piece for piece in shown.values()) > 20


async def test_a_log_of_a_worker_has_one_line_an_event_whatever_a_reason_says(home: Home) -> None:
    await fill(home)
    log = await run_all(home)

    assert steering(log.encode()) == set()
    assert [line for line in log.splitlines() if line.startswith(FORGED)] == []
    assert sum("folder" in line for line in log.splitlines()) == 1
    assert sum("cancelled running" in line for line in log.splitlines()) == 1


async def test_a_pipe_gets_a_line_a_job_and_json_that_says_what_was_said(home: Home) -> None:
    await fill(home)
    await run_all(home)

    table = await home.ok("list")
    text = await home.ok("list", "--json")
    jobs = {job["id"]: job for job in json.loads(text)}
    output = await home.json("logs", "output")
    assert len(table.splitlines()) == 1 + len(jobs)
    assert steering(table.encode()) == steering(text.encode()) == set()
    assert HOSTILE in jobs["command"]["command"]
    assert jobs["folder"]["cwd"] == f"/{HOSTILE}\n{FORGED}"
    assert jobs["waiting"]["reason"] == jobs["running"]["reason"] == f"{HOSTILE}\n{FORGED}"
    assert output["output"] == BYTES.decode(errors="backslashreplace")
    assert "owned" not in json.dumps(jobs["env"])


async def test_an_output_goes_through_a_pipe_as_it_was_written(home: Home) -> None:
    await fill(home)
    await run_all(home)

    await home.ok("logs", "output")

    written = [path for path in home.folder.glob("*.out") if path.read_bytes() == BYTES]
    assert len(written) == 1


@pytest.mark.parametrize("field", ["id", "command", "cwd", "env", "tags", "tags[]", "name"])
async def test_text_that_the_system_does_not_take_is_refused_line_by_line(
    home: Home, field: str
) -> None:
    bad = ["a\x00b", "a\ud800b", "\udcff"]
    values: dict[str, list[object]] = {
        "env": [{"WORD": text} for text in bad],
        "name": [{text: "word"} for text in bad],
        "tags[]": [["good", text] for text in bad],
    }
    key = {"name": "env", "tags[]": "tags"}.get(field, field)
    lines = [json.dumps({"command": "true", key: value}) for value in values.get(field, bad)]

    result = await home.run("enqueue", "-", stdin="\n".join(lines).encode())

    assert result.code == 2
    assert all(f"line {number}: " in result.err for number in (1, 2, 3))
    assert steering(result.err.encode()) == set()
    assert await home.json("list") == []


async def test_an_id_that_looks_like_a_path_is_refused_wherever_a_job_is_made(home: Home) -> None:
    ids = [*NEVER, *NEVER_EITHER, *TOO_LONG, "a\x00b"]
    made = [["enqueue", json.dumps({"id": name, "command": "true"})] for name in ids]
    made += [["enqueue", f"--id={name}", "--", "true"] for name in ids[:-1]]
    made += [["run", f"--id={name}", "--", "true"] for name in ids[:-1]]

    codes, said = await execute(home, made)

    assert set(codes) == {2}
    assert steering(said.encode()) == set()
    assert "Traceback" not in said
    assert await home.json("list") == []


async def test_an_id_that_looks_like_a_path_finds_no_job_and_no_file(home: Home) -> None:
    ids = [*NEVER, *NEVER_EITHER, *TOO_LONG]
    await home.enqueue({"id": "any", "command": "true"})
    verbs = (["info"], ["logs"], ["cancel"], ["retry"], ["delete"], ["wait"], ["dlq", "retry"])
    before = {path for path in home.folder.rglob("*") if path.is_file()}

    codes, said = await execute(home, [[*verb, "--", name] for verb in verbs for name in ids])

    assert set(codes) == {3}
    assert steering(said.encode()) == set()
    assert "Traceback" not in said
    assert [job["state"] for job in await home.json("list")] == ["pending"]
    new = {path for path in home.folder.rglob("*") if path.is_file()} - before
    assert {path.parent for path in new} <= {home.folder, home.work, home.database.parent}


async def test_an_id_that_is_strange_and_legal_works_everywhere(home: Home) -> None:
    large = "head -c 20000 /dev/zero; exit 1"
    await home.enqueue(*({"id": n, "command": large, "max_retries": 0} for n in LEGAL))
    assert await (await home.start("worker", "start", "--drain", "--count", "4")).ended() == 0
    verbs = (["info"], ["logs"], ["wait"], ["dlq", "retry"], ["cancel"], ["retry"], ["delete"])

    codes, _ = await execute(home, [[*verb, name] for verb in verbs for name in LEGAL])

    expected = {"wait": 6}
    assert codes == [expected.get(verb[0], 0) for verb in verbs for _ in LEGAL]
    assert await home.json("list") == []
    assert not [path for path in (home.state / "output").rglob("*") if path.is_file()]
