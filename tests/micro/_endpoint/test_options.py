"""What is inherited, level by level."""

from __future__ import annotations

import pytest

from micro import ConfigError
from micro._endpoint.options import EndpointOptions


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
    options = EndpointOptions()
    for level in reversed(levels):
        options = options.narrowed(queue_group=level)
    assert options.queue_group == expected


def test_unknown_option_is_refused_even_without_a_value() -> None:
    with pytest.raises(TypeError) as caught:
        EndpointOptions().narrowed(max_in_fligth=None)
    assert str(caught.value) == "unknown endpoint options ['max_in_fligth']"


def test_nothing_given_is_the_same_object() -> None:
    """A service with thousands of endpoints keeps its options once."""
    options = EndpointOptions(max_in_flight=7)
    assert options.narrowed(timeout=None, middlewares=None) is options


@pytest.mark.parametrize("name", ["reply_prefixes", "middlewares"])
def test_text_in_place_of_a_list_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EndpointOptions().narrowed(**{name: "_INBOX."})
    assert str(caught.value) == f"invalid {name} '_INBOX.': expected a list"
