"""How long a test waits for what must come about.

Jobs run at the lowest priority, and services wait behind whatever else computes. Where many processes want the cores,
both take many times as long, and that is no failure. A test that waits in vain ends all the same.
"""

import os

MOST = 6.0


def patience(seconds: float) -> float:
    """That many seconds where cores are free, and more the more processes want each core now."""
    try:
        wanting = os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:  # some containers do not say
        return seconds
    return seconds * min(max(1.0, wanting), MOST)
