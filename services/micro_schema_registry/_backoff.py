"""Pauses between the attempts of one call."""

import random
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt.

    The limit of a pause doubles from `first` to `longest`; chance takes away up to half of it, so
    that clients which failed together do not try again together.
    """
    limit = first
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - spreads load, no secret
        limit = min(limit * 2, longest)
