"""FastStream. usage: faststream_echo.py URL SUBJECT"""

import asyncio
import sys

from faststream import FastStream
from faststream.nats import NatsBroker

broker = NatsBroker(sys.argv[1], logger=None)


@broker.subscriber(sys.argv[2], queue="q")
async def echo(body: bytes) -> bytes:
    return body


asyncio.run(FastStream(broker, logger=None).run())
