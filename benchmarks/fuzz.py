"""Minutes of requests that the OpenAPI schemas of both services allow or forbid: `python -m benchmarks.fuzz`.

The long version of tests/system/test_schemas.py, with a new seed each time and with the routes that make model files.
`--minutes 30` is the time for each service. The table says how many requests failed a check, and after it each failure
has an example as a `curl` command.
"""

from __future__ import annotations

import argparse
from collections import Counter
from random import SystemRandom
from typing import get_args

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from tests.fuzzing import Service, both_services, fuzz


def main() -> None:
    """Run and print; the exit code says whether anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each service")
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32))
    options = parser.parse_args()
    print(describe("schemathesis"), f"Seed {options.seed}.")
    table = Table("service", "operations", "requests", "failures by check")
    found = {}
    with both_services() as services:
        for service in get_args(Service):
            seconds, url = int(60 * options.minutes), getattr(services, service)
            run = found[service] = fuzz(service, url, examples=10_000, seconds=seconds, seed=options.seed)
            failed = Counter[str]()
            for (check, _), examples in run.failures.items():
                failed[check] += len(examples)
            said = ", ".join(f"{check}: {count}" for check, count in failed.most_common()) or "none"
            table.add_row(service, str(run.operations), f"{run.requests:,}", said)
    console = Console()
    console.print(table)
    for service, run in found.items():
        if run.failures or run.errors:
            console.print(f"\n{service}\n{run}", markup=False)
    raise SystemExit(any(run.failures or run.errors for run in found.values()))


if __name__ == "__main__":
    main()
