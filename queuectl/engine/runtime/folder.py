"""The folder beside a database: locks, wake-up pipes, outputs; and who may read it."""

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from queuectl.engine.domain.models import RunKey
from queuectl.engine.errors import StoreError
from queuectl.engine.store.log_owner import note_log
from queuectl.engine.store.places import state_folder


class StateFolder:
    """
    Names and makes what is kept beside the database ``queue.db``.

    ``queue.db-run/`` holds ``workers/TOKEN/`` (a worker's lock and its run
    files), ``wake/`` (a pipe for everyone who listens), ``output/`` (large
    outputs) and ``logs/`` (of detached workers). Names are made from numbers
    and random tokens, never from what anybody typed.
    """

    def __init__(self, database: Path) -> None:
        self.database: Path = database
        self.path: Path = state_folder(database)

    def make(self) -> None:
        """
        Make the folder for its owner alone, when the database is there.

        Raises:
            StoreError: It is a link, is somebody else's, or cannot be made.
        """
        for folder in (self.path, self.workers, self.wake, self.outputs, self.logs):
            make_private(folder)

        try:
            note_log(self.database)
        except OSError as error:
            words = f"cannot write into {self.path} ({error.strerror})"
            raise StoreError(self.database, words) from error

    @property
    def workers(self) -> Path:
        """A folder for each worker."""
        return self.path / "workers"

    @property
    def wake(self) -> Path:
        """A named pipe for everyone who wants to hear of changes."""
        return self.path / "wake"

    @property
    def outputs(self) -> Path:
        """Outputs too large for the database, a thousand jobs to a folder."""
        return self.path / "output"

    @property
    def logs(self) -> Path:
        """What detached workers say."""
        return self.path / "logs"

    @property
    def deliverer_lock(self) -> Path:
        """The file whose lock has who delivers to webhooks."""
        return self.path / "webhooks.lock"

    def worker(self, token: str) -> Path:
        """Return the folder of a worker."""
        return self.workers / token

    def output(self, run: RunKey) -> Path:
        """Return the file of a run's large output."""
        return self.outputs / str(run.seq // 1000) / f"{run.seq}.{run.run}.log"

    def remove_drafts(self, before: float) -> None:
        """
        Remove pipes whose process was killed before they had their name. Blocking.

        Args:
            before: Only those made before this time, in seconds since 1970.
        """
        for draft in self.wake.glob(".*"):
            # Whoever made it may just be giving it its name.
            with suppress(FileNotFoundError):
                if draft.lstat().st_mtime < before:
                    draft.unlink()

    def copy_outputs(self, other: "StateFolder") -> None:
        """Copy the large outputs to another database's folder."""
        if any(self.outputs.iterdir()):
            make_private(other.path)
            shutil.copytree(self.outputs, other.outputs, dirs_exist_ok=True)

    def size_of_outputs(self) -> int:
        """Return how many bytes the large outputs take."""
        total = 0

        for path in self.outputs.glob("*/*.log"):
            # Its job may be deleted at this moment.
            with suppress(FileNotFoundError):
                total += path.lstat().st_size

        return total

    def remove_outputs(self, runs: Iterable[RunKey]) -> None:
        """Remove the large outputs of these runs."""
        for run in runs:
            self.output(run).unlink(missing_ok=True)


def make_private(folder: Path) -> None:
    """
    Make a folder for its owner alone, where there is none.

    Raises:
        StoreError: It is a link, is somebody else's, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError as error:
        raise StoreError(
            folder,
            f"cannot make the folder ({error.strerror})",
            hint="check the permissions" if isinstance(error, PermissionError) else None,
        ) from error

    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(folder, "not a folder", hint="move it out of the way")

    if found.st_uid != os.geteuid():
        # Whatever is in it stays: its owner's workers have their locks there.
        raise StoreError(
            folder,
            f"the folder belongs to another user (uid {found.st_uid})",
            hint="use queuectl as that user",
        )

    if found.st_mode & 0o077:
        folder.chmod(0o700)
