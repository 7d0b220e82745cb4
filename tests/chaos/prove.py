"""``python -m tests.chaos.prove``: every planted defect, found; and none where there is none."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.defects import DEFECTS
from tests.chaos.figures import Figures
from tests.chaos.harness import Harness
from tests.chaos.scenarios import SCENARIOS


async def prove(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run a defect's scenario with the defect and without it; return a row of the report."""
    plan = SCENARIOS[name].make(seed)
    broken = await Harness(plan, folder / "broken", defect=name).run()
    whole = await Harness(plan, folder / "whole").run()

    for violation in whole.found:
        sys.stdout.write(f"{name}, without it: {violation.job} {violation.words}\n")

    return {
        "defect": name,
        "violations with it": _found(broken),
        "violations without it": sum(whole.violations.values()),
        "seconds": round(broken.seconds, 1),
    }


def _found(figures: Figures) -> dict[str, int]:
    return {kind: count for kind, count in figures.violations.items() if count}


def main() -> int:
    """Prove all, and return 1 where one was not found or one was found too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.prove", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    given = parser.parse_args()
    rows = []

    for name in DEFECTS:
        with tempfile.TemporaryDirectory(prefix="queuectl-chaos-") as folder:
            rows.append(asyncio.run(prove(name, given.seed, Path(folder))))

        sys.stdout.write(f"{msgspec.json.encode(rows[-1]).decode()}\n")
        sys.stdout.flush()

    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")

    return int(any(not row["violations with it"] or row["violations without it"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
