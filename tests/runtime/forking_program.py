"""A program whose handlers fork; its argument is the URL of the server."""

import multiprocessing
import os
import sys
import time

import micro
from micro import Request, options


def terminate_a_child() -> bytes:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(20)
    return str(child.exitcode).encode()


async def terminates(request: Request) -> None:
    await request.respond(terminate_a_child())


def terminates_in_a_thread(request: Request) -> None:
    request.respond(terminate_a_child())


async def exits(request: Request) -> None:
    child = os.fork()
    if child == 0:
        sys.exit(3)
    status = os.waitpid(child, 0)[1]
    await request.respond(b"%d" % os.waitstatus_to_exitcode(status))


async def returns(request: Request) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    await request.respond(b"child" if child == 0 else b"parent")


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def setup(context: micro.Context) -> None:
    service = await context.add_service("forks", "1.0.0")
    for handler in (terminates, terminates_in_a_thread, exits, returns, echo):
        await service.add_endpoint(handler.__name__, handler)
    print("ready", flush=True)


micro.run(setup, options.servers(sys.argv[1]), trap_signals=True)
