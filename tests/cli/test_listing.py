"""``list`` and ``info``."""

from pathlib import Path

from tests.cli.program import Queuectl
from tests.cli.schema import check_job, check_jobs
from tests.cli.states import fill, pretended_worker

def test_x(queuectl: Queuectl, db_path: Path) -> None:
    fill(db_path)
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("list").out])
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("dlq", "list").out])
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("info", "failed").out])
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("info", "dead").out])
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("status").out])
    with pretended_worker(db_path, "busy") as worker:
        print(file=open("/tmp/c1/o","a"), *[queuectl.ok("status").out])
        print(file=open("/tmp/c1/o","a"), *[queuectl.ok("worker", "list")])
        print(file=open("/tmp/c1/o","a"), *[queuectl.ok("logs", "busy")])
        print(file=open("/tmp/c1/o","a"), *[queuectl("list", "--state", "nope")])
        print(file=open("/tmp/c1/o","a"), *[queuectl("list", "--state", "nope", "--json")])
    print(file=open("/tmp/c1/o","a"), *[queuectl.ok("status").out])
    print(file=open("/tmp/c1/o","a"), *[queuectl.json("list")])
    print(file=open("/tmp/c1/o","a"), *[queuectl.error("info", "x")])
    print(file=open("/tmp/c1/o","a"), *[queuectl("delete", "busy", "x")])
    print(file=open("/tmp/c1/o","a"), *[queuectl("config")])
    raise
