"""Overviews without an event loop."""

from __future__ import annotations

from typing import Any

from micro.dashboard._overview import Look, overview_in_steps


def overview(look: Look, before: Look | None) -> list[dict[str, Any]]:
    """Return an overview, all of its steps at once."""
    steps = overview_in_steps(look, before)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            services: list[dict[str, Any]] = end.value
            return services
