"""A PostgreSQL of our own for as long as it is needed, on a socket in a folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, CannotRunError, environment

_USERS: Final = ("postgres", "nobody")
_WAIT: Final = 30.0
_PORT: Final = "5432"  # names the socket; nothing listens on the network


@contextmanager
def cluster(bench: Bench) -> Iterator[str]:
    """
    Run a server with the defaults that it ships with: what it acknowledges is on the disk.

    Gives:
        How to connect to it.

    Raises:
        CannotRunError: It is not installed, or does not start.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=bench.folder))
    become = _become(folder)
    data = folder / "data"
    # The socket's path may have no more than some hundred characters.
    options = ["-k", str(folder), "-c", "listen_addresses=", "-p", _PORT]
    log = (folder / "log").open("wb")

    try:
        _call([*become, str(programs / "initdb"), "-A", "trust", "-U", "bench", str(data)])
        server = subprocess.Popen(
            [*become, str(programs / "postgres"), "-D", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            cwd=folder,
        )

        try:
            _await_socket(folder / f".s.PGSQL.{_PORT}", server)
            yield f"host={folder} port={_PORT} user=bench dbname=postgres"
        finally:
            # A fast shutdown: it ends its sessions itself.
            server.send_signal(2)
            server.wait(_WAIT)
    finally:
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Return the folder of the server's programs, which Debian keeps off the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    on_path = shutil.which("postgres")

    if found:
        return found[-1].parent

    if on_path is None:
        raise CannotRunError("PostgreSQL is not installed")

    return Path(on_path).resolve().parent


def _version(program: Path) -> int:
    name = program.parent.parent.name
    return int(name) if name.isdecimal() else 0


def _become(folder: Path) -> list[str]:
    """Return the words that run it as somebody else, where we are root: it refuses that."""
    if os.geteuid() != 0:
        return []

    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue

        os.chown(folder, user.pw_uid, user.pw_gid)
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

        if shutil.which("setpriv") is not None:
            return ["setpriv", *ids, "--"]

    raise CannotRunError("PostgreSQL does not run as root, and there is nobody else to run it")


def _call(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, check=False, cwd="/", env=environment())

    if done.returncode != 0:
        raise CannotRunError(done.stderr.decode(errors="replace").strip()[-300:])


def _await_socket(socket: Path, server: "subprocess.Popen[bytes]") -> None:
    """Return when it takes connections: it writes that into its lock file last."""
    lock = socket.parent / "data" / "postmaster.pid"
    deadline = time.monotonic() + _WAIT

    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CannotRunError(f"PostgreSQL ended with {server.returncode}")

        if socket.exists() and "ready" in lock.read_text(encoding="utf-8"):
            return

        time.sleep(0.05)

    raise CannotRunError("PostgreSQL did not start in time")
