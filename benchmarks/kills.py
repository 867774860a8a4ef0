"""500 kills of either service while 5,000 labels are given: `python -m benchmarks.kills`.

The long version of tests/system/test_kills.py: every confirmed label exists once, in order, and the trainer's state
equals the log at the end. It takes about an hour on two cores; `--kills 50 --labels 500` takes minutes.
"""

from __future__ import annotations

import argparse
import random
import threading
import time

from rich.progress import track

from benchmarks.machine import describe
from tests.services import running_services, wait_for


def main() -> None:
    """Run, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--labels", type=int, default=5_000)
    options = parser.parse_args()
    print(describe("sqlalchemy"))
    rng = random.Random(0)
    with running_services(images=options.labels) as services:
        confirmed: list[str] = []
        person = threading.Thread(target=services.annotate_all, args=(confirmed,), daemon=True)
        person.start()
        for number in track(range(options.kills), "Killing"):
            victim = services.labeler if number % 2 else services.trainer
            time.sleep(rng.uniform(0, 1.0))
            victim.kill()
            victim.start(wait=victim is services.labeler)
        person.join(600)
        rows = services.rows()
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "the log has a gap"
        given = [row["id"] for row in rows if row["action"] == "label"]
        assert given == confirmed, f"{len(confirmed)} confirmed, {len(given)} in the log"
        assert len(given) == options.labels
        wait_for(services.caught_up, "the trainer", 300)
        print(
            f"{options.kills} kills, {len(confirmed)} labels confirmed, {len(given)} in the log: once each, in order."
        )


if __name__ == "__main__":
    main()
