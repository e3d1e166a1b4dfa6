"""What is inherited, level by level."""

from __future__ import annotations

import pytest

from micro._endpoint.options import Terms


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), "q"),
        ((None, None), "q"),
        ((None, "service"), "service"),
        (("endpoint", "service"), "endpoint"),
        (("", "service"), ""),
        ((None, ""), ""),
        (("endpoint", ""), "endpoint"),
    ],
)
def test_innermost_queue_group_that_is_set_wins(
    levels: tuple[str | None, ...], expected: str
) -> None:
    terms = Terms()
    for level in reversed(levels):
        terms = terms.narrowed(level, None, None, None, None, None)
    assert terms.queue_group == expected
