"""What a job costs, in counts: they do not depend on how busy the machine is, as times do."""

import json
import os
import subprocess  # noqa: TID251 (a program of its own, whose calls are counted)
import sys
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]

# Measured on Python 3.11 to 3.13: 400 to 490, 295 to 360, 30 to 36, more where the machine is
# busy and fewer results share a commit; the rest is room.
_MOST: Final = {"python": 620.0, "c": 460.0, "system": 46.0}


@pytest.mark.timeout(60)
def test_a_short_job_makes_few_calls_in_the_loops_thread() -> None:
    # Each variable of the environment is encoded for each process: as few as can be.
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.counting"],
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
    )

    counts = json.loads(done.stdout)
    assert {kind: number for kind, number in counts.items() if number > _MOST[kind]} == {}
    assert set(counts) == set(_MOST)
