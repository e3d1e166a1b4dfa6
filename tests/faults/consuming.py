"""A consumer in its own process: `consuming.py URL[,URL...] FILE`; it notes each number it handles.

A line of the file is a number, written before the message is acknowledged.
"""

import asyncio
import os
import sys

import micro
from micro import options

PLACES = 16
"""Messages that run side by side, and as many wait."""

notes: list[int] = []
work = micro.service("work", "1.0.0")


@work.consumer("WORK", ack_wait=2, batch=PLACES, max_in_flight=PLACES)
async def handle(number: int) -> None:
    await asyncio.sleep(0.002)
    os.write(notes[0], b"%d\n" % number)


async def setup(ctx: micro.Context) -> None:
    await ctx.add(work)
    print("ready", flush=True)


if __name__ == "__main__":
    notes.append(os.open(sys.argv[2], os.O_APPEND | os.O_WRONLY))
    micro.run(setup, options.servers(*sys.argv[1].split(",")), trap_signals=True)
