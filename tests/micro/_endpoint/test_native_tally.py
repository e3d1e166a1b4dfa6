"""The accelerated counters against their specification, with the same times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro._native import specification

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")

runs = st.lists(
    st.one_of(st.none(), st.lists(st.integers(0, 10**12)), st.just(range(700))), max_size=6
)


@given(runs)
def test_any_times_have_the_same_sums_buckets_and_latest_ones(given_runs: list[Any]) -> None:
    outcomes = []
    for make in (specification["Tally"], native.Tally):
        tally = make()
        outcome = []
        for times in given_runs:
            if times is None:
                tally.clear()
            else:
                tally.handled(list(times))
            outcome.append(
                (tally.num_requests, tally.processing_time, tally.latest(), tally.buckets())
            )
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]
