"""Which commands keep the trap that writes down their exit code, and which get a second shell."""

import time
from pathlib import Path
from typing import Final

import pytest

from queuectl.engine.domain.spec_rules import MAX_COMMAND_BYTES
from queuectl.engine.runtime.wrapper import wrap

# What the shell turns into no other command than it looks like.
PLAIN: Final = [
    "true",
    "echo $HOME",
    "kill -TERM $$",
    "ls *.txt | wc -l",
    "for f in *.txt; do echo $f; done",
    '[ -n "$x" ] && echo hi',
    "awk '{print $1}' f",
    "while read l; do echo $l; done <f",
    "FOO=bar cmd arg",
    "python3 train.py --x 1 > log 2>&1",
    "read gate <$gate; exit 3",
    "echo hi > $OUT",
    "if [ -f x ]; then echo $y; fi",
    "case $x in a) echo b;; esac",
    "cat <<END\nplain\nEND",
    "! grep $x f",
]

# What is, or can become, a word after which a trap does not run, or is not silent.
HIDDEN: Final = [
    "exec x",
    "e'x'ec x",
    "$L x",
    "A=b $L x",
    "A='x;y' $L x",
    ">f $L x",
    "2>&1 $L",
    "tr\"\"ap '' EXIT",
    ". ./f",
    '"." ./f',
    "\\. ./f",
    "case x in x). ./f;; esac",
    "case x in x) . ./f;; esac",
    "set $o",
    "set 'a;b' $o",
    "command $x",
    "`echo exec` x",
    "$(echo exec) x",
    "${L} x",
    "a; $L",
    "true && $L",
    "{ $L; }",
    "if $L; then :; fi",
    "if true; then $L; fi",
    "! $L",
    "exe? x",
    "e*c x",
    "[e]xec x",
    "~ x",
    "ex\\\nec x",
    "x=$(y); $x",
    "for i in a; do $i; done",
    "while :; do\n$L\ndone",
    "(true); $L",
    '"ex""ec" x',
    "set '-x'",
    "PATH=%func:%builtin f",
    "if ! $L; then :; fi",
    "else $L",
    "for i in 1\ndo $L x\ndone",
    "for i in 1;do $L x;done",
    "if true\nthen $L x\nfi",
    "if true;then $L x;fi",
    "true\nif $L; then :; fi",
    "a\n! $L x",
    "echo C:\\\\\n$L x",
    "# see C:\\\n$L x",
    "# a\\\n. ./f.sh",
    ".</dev/null ./f.sh",
    "set>/dev/null $F",
    "command>/dev/null $L x",
    "(if $L; then :; fi)",
    "{ if $L x; then :; fi; }",
    "while $L; do :; done",
    "a;while $L; do :; done",
    "time $L x",
    "@(exec) x",
    "function f { $L; }",
    "case x in\nx) $L;;\nesac",
    "a&&$L x",
    "a||$L x",
    "a|$L",
    "a\t\t; \t$L",
    "1>f $L",
    "esac;$L",
    "then\n$L",
    "\tdo\t$L x",
    "if\t$L;then :;fi",
    "trap\\\n x",
    "$L",
    "A=1 B=2 $L x",
    "A=$(x) y",
    "function command { :; }; command $L",
    "f() $L",
    "f()\n{ $L; }",
    "&& $L",
    "\\$L",
    "select i in a; do $L; done",
    "export A=b; $L",
    "let x=1; $L",
    "[[ a ]] && $L",
    "eval x",
    "if [ $x ]; then exec y; fi",
    "./a ; .\t./b",
    "if . ./x; then :; fi",
    "!\t. ./x",
]


def has_second_shell(command: str) -> bool:
    """Whether a command is handed to a shell of its own."""
    exit_file = Path("0.exit")
    return wrap(command, "1 1", exit_file, folder="/", refusal="not begun", trap_is_safe=True)[1]


@pytest.mark.parametrize("command", PLAIN)
def test_a_command_that_is_what_it_looks_like_keeps_the_trap(command: str) -> None:
    assert not has_second_shell(command)


@pytest.mark.parametrize("command", HIDDEN)
def test_a_command_that_may_take_the_trap_away_gets_a_second_shell(command: str) -> None:
    assert has_second_shell(command)


@pytest.mark.parametrize("word", ["set a;", "set -a ", "if ", "a;", " .", "$", "command ", "[ "])
def test_a_long_command_is_judged_at_once(word: str) -> None:
    command = word * (MAX_COMMAND_BYTES // len(word))
    begin = time.thread_time()

    has_second_shell(command)

    # Seconds of this thread's own; milliseconds, where nothing is read again and again.
    assert time.thread_time() - begin < 1
