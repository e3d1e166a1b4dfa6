"""A module whose extra is not installed says so in one line on import."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = {
    "micro_http": ("httpx", "http"),
    "micro.prometheus": ("prometheus_client", "prometheus"),
    "micro.opentelemetry": ("opentelemetry", "opentelemetry"),
    "micro.adapters.dishka": ("dishka", "dishka"),
    "micro.adapters.msgpack": ("ormsgpack", "msgpack"),
    "micro.adapters.fastapi": ("fastapi", "fastapi"),
    "micro.dashboard": ("starlette", "dashboard"),
}


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_extra_is_named_on_import(module: str) -> None:
    package, extra = MODULES[module]
    program = f"import sys; sys.modules[{package!r}] = None; import {module}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    reason = f"{module} needs the extra {extra!r}: pip install 'natsmicro[{extra}]'"
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {reason}"
    assert "During handling" not in done.stderr
