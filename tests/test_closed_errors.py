"""Use after closing is one family of errors in all packages."""

from __future__ import annotations

import pytest

import micro
import micro_etcd
import micro_http
import micro_schema_registry


@pytest.mark.parametrize(
    "error",
    [
        micro.StoppedError,
        micro_schema_registry.ClosedError,
        micro_etcd.EtcdClosedError,
    ],
)
def test_use_after_closing_is_one_family(error: type[Exception]) -> None:
    assert issubclass(error, micro.ClosedError)
    assert issubclass(error, RuntimeError)


def test_the_http_client_knows_nothing_of_micro_and_raises_the_same_builtin() -> None:
    assert issubclass(micro_http.ClosedError, RuntimeError)
