"""Every fault is met on both paths; see ``MICRO_TRANSPORT``."""

from __future__ import annotations

import pytest
from tests.micro.path_kit import PATHS
from tests.runtime.conftest import start as start  # a fixture

from micro import _transport


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make contexts, and programs that are started, take one path."""
    monkeypatch.setenv(_transport.VARIABLE, request.param)
    return str(request.param)
