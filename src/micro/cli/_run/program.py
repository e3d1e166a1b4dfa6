"""The program of `micro run`, and its run in this process."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from micro import options
from micro._errors import ConfigError
from micro._program.announcement import announce
from micro._program.context import Context
from micro._program.run import run_process
from micro._program.setups import Setup
from micro.cli._flags import Serving
from micro.cli._run.access_log import log_request
from micro.cli._run.target import load_setup

logger = logging.getLogger("micro.run")


class Loop(StrEnum):
    """An implementation of the event loop."""

    asyncio = "asyncio"
    uvloop = "uvloop"


@dataclass(frozen=True)
class Program:
    """A setup function and the way to run it.

    Attributes:
        target: `module:attribute` of the setup function.
        connection: The flags of the connection, the log and the health checks.
        loop: The event loop to run in.
        grace: Seconds that a stop may take, see `Context`; None for the default.
        access_log: Whether each request is logged.
    """

    target: str
    connection: Serving
    loop: Loop = Loop.asyncio
    grace: float | None = None
    access_log: bool = False

    def to_json(self) -> str:
        """Return the program as one line, with its credentials: for the pipe to a worker only."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Parse a line of `to_json`."""
        values = json.loads(line)
        return cls(**{**values, "connection": Serving(**values["connection"])})

    def configure_logging(self) -> None:
        """Write log lines to standard error."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            _JsonFormatter() if self.connection.log_json else logging.Formatter(_FORMAT)
        )
        logging.basicConfig(level=self.connection.log_level.upper(), handlers=[handler])

    def serve(
        self, on_ready: Callable[[], None] | None = None, *, setup: Setup | None = None
    ) -> None:
        """Run until SIGINT or SIGTERM.

        Args:
            on_ready: Called when the setup function has returned.
            setup: The setup function, by default that of the target.

        Raises:
            ConfigError: The target, the event loop or a declaration is not acceptable.
            ConnectError: The connection cannot be made, or is closed for good.
        """
        new_loop = self._loop_factory()
        chosen = load_setup(self.target) if setup is None else setup

        async def set_up(context: Context) -> None:
            is_set_up = asyncio.Event()
            if (health := self.connection.health) is not None:
                from micro.health import HealthServer

                context.add_check("setup", is_set_up.is_set)
                server = HealthServer(context, health.host, health.port)
                await context.enter(server)
                logger.info("health at http://%s:%d/healthz", health.host, server.port)
            await chosen(context)
            is_set_up.set()
            announce(context, ending=f"{self.target} is set up; Ctrl-C stops it")
            if on_ready is not None:
                on_ready()

        async def main(context: Context) -> None:
            if self.access_log:
                context.__middlewares__ = (log_request,)
            given = [options.retry(self.connection.retry), *self.connection.options()]
            await context.run_forever(set_up, *given, trap_signals=True)

        run_process(main, grace=self.grace, loop_factory=new_loop)
        logger.info("%s has stopped", self.target)

    def _loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        if self.loop == Loop.asyncio:
            return None
        try:
            factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
                "uvloop"
            ).new_event_loop
        except ModuleNotFoundError:
            raise ConfigError(
                "--loop uvloop needs uvloop: pip install 'natsmicro[uvloop]'"
            ) from None
        return factory


_FORMAT = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"


# The attributes of every record; all others are fields of the call (`extra` of `logging`).
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _USUAL}
        line: dict[str, Any] = extra | {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
