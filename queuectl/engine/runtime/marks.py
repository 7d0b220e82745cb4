"""The mark that the processes of a run carry, wherever they go."""

import os
import re
from typing import Final, Self

import msgspec

from queuectl.engine.domain.models import RunKey

MARK_VARIABLE: Final = "QUEUECTL_RUN"

_NUMBER: Final = r"([0-9]{1,18})"
_MARK: Final = re.compile(rf"\0{MARK_VARIABLE}=(\w+)\.{_NUMBER}\.{_NUMBER}:([^\0]+)\0".encode())


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """
    Says whose a process is.

    Attributes:
        token: Of the worker that started the run.
        seq: The sequence number of the run's job.
        run: The run's number.
        database: The database, as an absolute path: a copy of it names the
            same runs, and they are not the copy's.
    """

    token: str
    seq: int
    run: int
    database: str

    def __str__(self) -> str:
        """Write it as the value of its variable."""
        return f"{self.token}.{self.seq}.{self.run}:{self.database}"

    @classmethod
    def of(cls, token: str, key: RunKey, database: str) -> Self:
        """
        Return the mark of a run.

        Args:
            token: Of the worker that started it.
            key: The run.
            database: As an absolute path.
        """
        return cls(token=token, seq=key.seq, run=key.run, database=database)

    @classmethod
    def read(cls, environ: bytes) -> Self | None:
        """
        Return the mark in an environment, None where there is none.

        Args:
            environ: As `first_environ` returns it.
        """
        found = _MARK.search(environ)

        if found is None:
            return None

        return cls(
            token=found[1].decode(),
            seq=int(found[2]),
            run=int(found[3]),
            database=os.fsdecode(found[4]),
        )

    @property
    def key(self) -> RunKey:
        """The run that it names."""
        return RunKey(self.seq, self.run)

    def is_of(self, database: str) -> bool:
        """
        Whether a run is this database's. Blocking.

        It may have been moved since, or have two paths, as where a folder is mounted twice.
        """
        return self.database == database or _is_none_or_same(self.database, database)


def _is_none_or_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return not os.path.lexists(path)
