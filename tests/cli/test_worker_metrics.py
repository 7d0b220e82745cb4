"""``worker start --metrics-port``: processes, which Prometheus reaches."""

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.cli.program import (
    Queuectl,
    Running,
    finish,
    next_line,
    run_process,
    run_words,
    started_process,
)
from tests.metrics.reading import counters, parse
from tests.waiting import PATIENCE

PORT = ("--metrics-port", "0")


@contextmanager
def started_worker(database: Path, *options: str) -> Iterator[tuple[Running, str]]:
    """Start a worker with metrics in the foreground, and yield it with their address."""
    words = ("--db", str(database), "worker", "start", *PORT, *options)

    with started_process(*words) as process:
        yield process, address_in(process)


def address_in(process: Running) -> str:
    """Return the address that is in a worker's log, when the worker has written it."""
    while line := next_line(process, "stderr"):
        if found := re.search(r" metrics at (http://\S+/metrics)$", line):
            return found[1]

    raise AssertionError("the worker ended")


def test_prometheus_reads_the_queue_from_a_worker(queuectl: Queuectl, db_path: Path) -> None:
    queuectl.ok("enqueue", "--id", "a", "--", "true")

    with started_worker(db_path, "--count", "3") as (process, address):
        queuectl.ok("wait", "a")
        samples = parse(httpx2.get(address).content)
        process.send_signal(signal.SIGTERM)
        ended = finish(process)

    assert address.startswith("http://127.0.0.1:")
    assert samples['queuectl_jobs{state="completed"}'] == 1
    assert samples["queuectl_worker_slots"] == 3
    assert ended.code == 0

    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)


def test_a_worker_that_is_replaced_keeps_its_port_and_its_counters(
    queuectl: Queuectl, db_path: Path
) -> None:
    with started_worker(db_path) as (first, address):
        first.terminate()
        finish(first)

    port = re.findall(r":(\d+)/", address)[0]
    queuectl.ok("enqueue", "--id", "a", "--", "true")
    words = ("--db", str(db_path), "worker", "start", "--metrics-port", port)

    with started_process(*words) as process:
        assert address_in(process) == address
        queuectl.ok("wait", "a")
        before = counters(parse(httpx2.get(address).content))
        queuectl.ok("worker", "restart")
        assert address_in(process) == address
        after = counters(parse(httpx2.get(address).content))

    assert before['queuectl_jobs_finished_total{outcome="completed"}'] == 1
    assert after == before


def log_line_with(process: Running, words: str) -> str:
    """Return the next line of a worker's log that has these words."""
    while line := next_line(process, "stderr"):
        if words in line:
            return line

    raise AssertionError("the worker ended")


def take_port(port: int) -> socket.socket:
    """Listen on a port as soon as it is free."""
    until = time.monotonic() + PATIENCE

    while True:
        taken = socket.socket()
        # What a connection to the worker has left of it is in nobody's way.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
            taken.listen()
        except OSError:
            taken.close()
            assert time.monotonic() < until
        else:
            return taken


def test_a_worker_whose_port_is_taken_while_it_is_replaced_works_on_until_it_is_free(
    queuectl: Queuectl, db_path: Path
) -> None:
    with started_worker(db_path) as (first, address):
        first.terminate()
        finish(first)

    port = re.findall(r":(\d+)/", address)[0]
    words = ("--db", str(db_path), "worker", "start", "--metrics-port", port)

    with started_process(*words) as process, ThreadPoolExecutor(1) as threads:
        assert address_in(process) == address
        log_line_with(process, " started: ")
        taking = threads.submit(take_port, int(port))
        [successor] = queuectl.json("worker", "restart", "--timeout", "10")

        with taking.result():
            assert f"port {port} is taken; working on without metrics" in log_line_with(
                process, "metrics"
            )
            queuectl.ok("enqueue", "--id", "a", "--", "true")
            queuectl.ok("wait", "a")

        assert address_in(process) == address
        samples = parse(httpx2.get(address).content)

    assert successor["pid"] == process.pid
    assert samples['queuectl_jobs{state="completed"}'] == 1


def test_of_several_processes_the_first_serves_them(queuectl: Queuectl, db_path: Path) -> None:
    with started_worker(db_path, "--processes", "2", "--count", "2") as (process, address):
        while len(queuectl.json("worker", "list")) < 2:
            next_line(process, "stderr")

        samples = parse(httpx2.get(address).content)
        process.terminate()
        ended = finish(process)

    assert samples['queuectl_workers{state="running"}'] == 2
    assert samples["queuectl_worker_slots"] == 4
    assert ended.code == 0
    assert "metrics at" not in ended.err


def test_detached_workers_serve_them_once(queuectl: Queuectl) -> None:
    first, second = queuectl.json("worker", "start", "--detach", "--processes", "2", *PORT)

    try:
        log = Path(first["log_file"]).read_text()
        [address] = re.findall(r" metrics at (http://\S+)\n", log)
        samples = parse(httpx2.get(address).content)
    finally:
        queuectl.ok("worker", "stop", "--now")

    assert "metrics at" not in Path(second["log_file"]).read_text()
    assert samples["queuectl_worker_slots"] == 2


@pytest.mark.parametrize(
    "options", [(), ("--processes", "2"), ("--detach",), ("--detach", "--processes", "2")]
)
def test_a_port_that_is_taken_is_said_before_anything_is_started(
    options: tuple[str, ...], queuectl: Queuectl, db_path: Path
) -> None:
    with started_worker(db_path) as (_, address):
        port = re.findall(r":(\d+)/", address)[0]
        words = ("worker", "start", "--metrics-port", port, *options)
        result = run_process("--db", str(db_path), *words)
        workers = queuectl.json("worker", "list")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: port {port} is taken\nhint: ")
    assert len(workers) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--metrics-host", "0.0.0.0"), 2, "--metrics-host needs --metrics-port"),  # noqa: S104 (refused)
        (("--metrics-port", "65536"), 2, "65536"),
        (("--metrics-port", "-1"), 2, "-1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: tuple[str, ...], code: int, words: str, queuectl: Queuectl
) -> None:
    result = queuectl.error("worker", "start", *options)

    assert result.code == code
    assert words in result.err


def test_a_host_that_is_none_is_said_in_a_line(db_path: Path) -> None:
    result = run_process("--db", str(db_path), "worker", "start", *PORT, "--metrics-host", "a..b")

    assert result.code == 1
    assert result.err.startswith("error: there is no address 'a..b'\nhint: ")


def without_the_extra(*words: str) -> list[str]:
    """Return the program as it is where the package of the extra is not installed."""
    script = (
        "import sys; sys.modules['prometheus_client'] = None; from queuectl.cli import program;"
        f" sys.exit(program.execute({list(words)!r}))"
    )
    return [sys.executable, "-c", script]


@pytest.mark.parametrize("options", [(), ("--detach",), ("--processes", "2")])
def test_without_the_extra_it_says_how_to_get_it(options: tuple[str, ...], db_path: Path) -> None:
    words = ("--db", str(db_path), "worker", "start", "--metrics-port", "0", *options)
    result = run_words(without_the_extra(*words))

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "error: the metrics need extra packages, and prometheus-client is missing\n"
        "hint: install them with: pip install 'queuectl[metrics]'\n"
    )


def test_without_metrics_a_worker_needs_no_extra(db_path: Path) -> None:
    words = ("--db", str(db_path), "worker", "start", "--drain", "-q")

    assert run_words(without_the_extra(*words)).code == 0
