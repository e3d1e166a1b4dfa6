"""A short run of the soak; `python -m tests.micro_etcd.soak` is the long one."""

import pytest
from tests.micro_etcd.soak import soak
from tests.micro_etcd.versions import Binaries


@pytest.mark.timeout(180)
async def test_fifteen_seconds_of_random_faults(binaries: Binaries) -> None:
    seen = await soak(15, seed=20, binary=binaries.etcd)

    assert len(seen.done) > 50
    assert seen.fenced
    assert seen.faults.total() > 2
