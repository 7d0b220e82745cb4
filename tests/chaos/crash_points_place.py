"""The folder in which a scenario happens, and what is written there."""

import os
import shutil
from pathlib import Path
from typing import Final

# Seconds between TERM and KILL.
GRACE: Final = 0.2


class Place:
    """
    One folder with a database, a job's witness and a client's acknowledgements.

    Args:
        folder: Its path; the same for every point of a scenario, for jobs
            remember where they run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.database: Final = folder / "queue.db"
        self.witness: Final = folder / "witness"
        self.gate: Final = folder / "go"
        self.noise: Final = folder / "noise"
        self._acks: Final = folder / "acks"
        self._template: Final = folder.with_name(f"{folder.name}.template")

    def make(self) -> None:
        """Be empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def keep_as_template(self) -> None:
        """Let every later `renew` begin with what is here now."""
        shutil.rmtree(self._template, ignore_errors=True)
        self.folder.rename(self._template)

    def renew(self) -> None:
        """Be as it was when it was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._template, self.folder)

    def open_gate(self) -> None:
        """Let the jobs that wait go on."""
        self.gate.touch()

    def acknowledge(self, job_id: str) -> None:
        """Note what a client was told; outlasts the death of this process."""
        descriptor = os.open(self._acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{job_id}\n".encode())
        finally:
            os.close(descriptor)

    def acknowledged(self) -> list[str]:
        """Return what clients were told."""
        return self._acks.read_text().splitlines() if self._acks.exists() else []

    def lines(self) -> list[str]:
        """Return what the job's runs said, in their order."""
        return self.witness.read_text().splitlines() if self.witness.exists() else []

    def has_begun(self) -> bool:
        """Whether a run has said that it began."""
        return any(line.startswith("S ") for line in self.lines())

    def is_ending(self) -> bool:
        """Whether an engine has noted why it is about to end a run."""
        return any(
            len(lines := lock.read_text().splitlines()) > 1 and lines[1].strip()
            for lock in self.folder.glob("queue.db-run/workers/*/[0-9]*.lock")
        )

    def processes(self) -> dict[int, str]:
        """Return the processes of jobs of this database, found by their environment."""
        mark = f"QUEUECTL_DB={self.database}".encode()
        found = {}

        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    found[int(process.name)] = b" ".join(words).decode(errors="replace")[-200:]
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                # It has ended meanwhile, or is somebody else's.
                continue

        return found

    def leftovers(self) -> list[str]:
        """Return what no engine that was closed may leave beside its database."""
        return sorted(f"{path.parent.name}/{path.name}" for path in self._leftovers())

    def age_leftovers(self) -> None:
        """Let what was left look as if it had been so for long."""
        for path in self._leftovers():
            os.utime(path, (0, 0), follow_symlinks=False)

    def _leftovers(self) -> list[Path]:
        state = self.database.with_name("queue.db-run")
        return [path for part in ("workers", "wake") for path in (state / part).glob("*")]
