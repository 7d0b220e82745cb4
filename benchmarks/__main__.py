"""``python -m benchmarks NAME`` measures one thing; ``--all`` measures everything."""

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bench import Bench, bench_folder, machine, say
from benchmarks.results import Result, write

# In the order in which they run: what is the same beside its competitors comes first,
# while nothing large has been written. What shares a database comes one after the other.
PROGRAMS: Final = (
    "throughput",
    "competitors",
    "cpu_per_job",
    "growth_slots",
    "command_start",
    "pickup",
    "idle",
    "loop_stall",
    "bulk_enqueue",
    "enqueue_many",
    "growth_rows",
    "memory",
    "database_size",
)


def main() -> int:
    """Run what is asked for; return 1 where a program failed."""
    given = _parser().parse_args()
    names = PROGRAMS if given.all else given.names
    failed = []

    if given.json_dir is not None:
        write(given.json_dir / "machine.json", machine())

    with bench_folder() as folder:
        bench = Bench(folder, is_quick=given.quick)

        for name in names:
            try:
                result = measure(name, bench)
            except Exception as error:  # noqa: BLE001 (one that fails does not cost the others)
                say(f"{name}: {type(error).__name__}: {error}")
                failed.append(name)
                continue

            _keep(result, given)

    if failed:
        say(f"failed: {', '.join(failed)}")

    return 1 if failed else 0


def measure(name: str, bench: Bench) -> Result:
    """Run one program; `seconds` of its result is how long it took."""
    say(f"{name} ...")
    begun = time.perf_counter()
    result: Result = importlib.import_module(f"benchmarks.{name}").measure(bench)
    result.seconds = round(time.perf_counter() - begun, 1)
    say(f"{name}: {result.seconds:.0f} s")
    return result


def _keep(result: Result, given: argparse.Namespace) -> None:
    for budget in result.budgets:
        word = "met" if budget.is_met else "NOT MET"
        say(f"  {budget.what}: {budget.measured:,.3g} {budget.unit} ({budget.budget}): {word}")

    if given.json_dir is not None:
        write(given.json_dir / f"{result.name}.json", result)
    elif given.json is not None:
        write(given.json, result)
    else:
        text = msgspec.json.format(msgspec.json.encode(result), indent=1)
        sys.stdout.write(text.decode() + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=(*PROGRAMS, []), help="what to measure")
    parser.add_argument("--all", action="store_true", help="measure everything")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="write the result of one here")
    parser.add_argument("--json-dir", type=Path, help="write NAME.json of each, and machine.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
