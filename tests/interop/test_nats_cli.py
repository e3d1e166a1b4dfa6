"""The ``nats`` command of the NATS authors, which checks what it reads against its own schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client as NatsClient

import micro

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
