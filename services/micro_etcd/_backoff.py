"""The pauses between attempts, for every retry of the package."""

import random

FIRST = 0.025  # seconds
LONGEST = 0.5


def backoff(number: int) -> float:
    """Return the seconds to wait before retry `number` (from 0): doubling, with 20 % jitter."""
    pause = min(FIRST * 2 ** min(number, 8), LONGEST)
    return float(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, no secret
