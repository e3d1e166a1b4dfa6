"""A program that runs services: what it owns, in which order it ends, and how."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import ConfigError, Context, Request, StoppedError, options
from micro.testing import NatsServer, free_port, nats_server

LONG = 60.0


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def forever() -> None:
    await asyncio.Event().wait()


class Recorder:
    """Async contexts that write down how they are left."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def entered(self, name: str) -> AsyncIterator[str]:
        try:
            yield name
        except BaseException as error:
            self.events.append(f"{name} saw {type(error).__name__}")
            raise
        else:
            self.events.append(f"{name} left")


async def test_context_connects_and_closes(server: NatsServer) -> None:
    async with Context() as context:
        await context.connect(options.servers(server.url))
        client = context.client
        assert client.is_connected
        await context.connect(options.servers("nats://127.0.0.1:1"))  # is connected already
        assert context.client is client
    assert client.is_closed


async def test_environment_fills_what_options_leave_open(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", server.url)
    async with Context() as context:
        await context.connect()
        assert context.client.is_connected


async def test_given_client_is_connected_and_closed(server: NatsServer) -> None:
    client = NatsClient()
    async with Context(client) as context:
        await context.connect(options.servers(server.url))
        assert context.client is client
        assert client.is_connected
    assert client.is_closed


async def test_connected_client_is_used_and_left_open(nc: NatsClient) -> None:
    async with Context(nc) as context:
        await context.connect()
        service = await context.add_service("left-open", "1.0.0")
        await service.add_endpoint("echo", echo, subject="left-open.echo")
        assert (await micro.Client(nc).request("left-open.echo", b"x")).data == b"x"
    assert service.stopped()
    assert nc.is_connected


async def test_service_needs_a_connection() -> None:
    async with Context() as context:
        with pytest.raises(StoppedError) as caught:
            await context.add_service("early", "1.0.0")
    assert str(caught.value) == "cannot add service 'early': the context is not connected"


async def test_reset_resets_every_service(nc: NatsClient) -> None:
    async with Context(nc) as context:
        services = [await context.add_service(f"reset-{n}", "1.0.0") for n in range(2)]
        for service in services:
            await service.add_endpoint("echo", echo, subject=f"{service.name}.echo")
            await micro.Client(nc).request(f"{service.name}.echo")
        assert [s.stats().endpoints[0].num_requests for s in services] == [1, 1]
        context.reset()
        assert [s.stats().endpoints[0].num_requests for s in services] == [0, 0]


async def test_what_is_pushed_and_entered_is_left_in_reverse_order() -> None:
    recorder = Recorder()

    async def later() -> None:
        recorder.events.append("async callback")

    async with Context() as context:
        assert await context.enter(recorder.entered("first")) == "first"
        context.push(lambda: recorder.events.append("sync callback"))
        context.push(later)
        context.push(lambda: later())  # noqa: PLW0108 - what a callback returns is awaited
        await context.enter(recorder.entered("second"))
    assert recorder.events == [
        "second left",
        "async callback",
        "async callback",
        "sync callback",
        "first left",
    ]


async def test_entered_contexts_see_the_exception() -> None:
    recorder = Recorder()

    async def block() -> None:
        async with Context() as context:
            await context.enter(recorder.entered("first"))
            await context.enter(recorder.entered("second"))
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        await block()
    assert recorder.events == ["second saw KeyError", "first saw KeyError"]


async def test_setup_that_raises_is_seen_by_what_was_entered(server: NatsServer) -> None:
    recorder = Recorder()
    context = Context()

    async def setup(ctx: Context) -> None:
        assert ctx is context
        await ctx.enter(recorder.entered("first"))
        service = await ctx.add_service("unlucky", "1.0.0")
        ctx.push(lambda: recorder.events.append(f"stopped {service.stopped()}"))
        raise KeyError("of the setup")

    with pytest.raises(KeyError, match="of the setup"):
        await context.run_forever(setup, options.servers(server.url))
    assert recorder.events == ["stopped True", "first saw KeyError"]
    assert context.client.is_closed


async def test_handler_may_use_what_was_entered_after_its_service(
    server: NatsServer, caller: NatsClient
) -> None:
    """Services stop before anything else is left: requests in flight may use it."""
    recorder = Recorder()
    entered, release = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        entered.set()
        await release.wait()
        recorder.events.append("handled")
        await request.respond(b"done")

    async with Context() as context:
        await context.connect(options.servers(server.url))
        service = await context.add_service("ordered-end", "1.0.0")
        await service.add_endpoint("e", handler, subject="ordered-end.e")
        await context.enter(recorder.entered("database"))
        asking = asyncio.create_task(caller.request("ordered-end.e", timeout=LONG))
        await entered.wait()
        asyncio.get_running_loop().call_soon(release.set)
    assert (await asking).data == b"done"
    assert recorder.events == ["handled", "database left"]


async def test_run_forever_serves_until_cancelled(server: NatsServer, caller: NatsClient) -> None:
    context = Context()
    ready = asyncio.Event()

    async def setup(ctx: Context) -> None:
        service = await ctx.add_service("forever", "1.0.0")
        await service.add_endpoint("echo", echo, subject="forever.echo")
        ready.set()

    running = asyncio.create_task(context.run_forever(setup, options.servers(server.url)))
    await ready.wait()
    assert (await micro.Client(caller).request("forever.echo", b"x")).data == b"x"
    assert not context.cancelled()
    context.cancel()
    await running
    assert context.cancelled()
    assert context.client.is_closed
    with pytest.raises(nats.errors.NoRespondersError):
        await caller.request("forever.echo")


async def test_handler_may_cancel_the_context_and_is_answered(
    server: NatsServer, caller: NatsClient
) -> None:
    context = Context()
    ready = asyncio.Event()

    async def quit(request: Request) -> None:
        context.cancel()
        await request.respond(b"bye")

    async def setup(ctx: Context) -> None:
        service = await ctx.add_service("quitting", "1.0.0")
        await service.add_endpoint("quit", quit, subject="quitting.quit")
        ready.set()

    running = asyncio.create_task(context.run_forever(setup, options.servers(server.url)))
    await ready.wait()
    assert (await caller.request("quitting.quit", timeout=LONG)).data == b"bye"
    await running


async def test_cancelling_during_setup_ends_it(server: NatsServer) -> None:
    context = Context()
    cancelled: list[str] = []

    async def setup(ctx: Context) -> None:
        ctx.cancel()
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append("setup")
            raise

    await context.run_forever(setup, options.servers(server.url))
    assert cancelled == ["setup"]


async def test_context_cancelled_before_it_runs_sets_nothing_up(server: NatsServer) -> None:
    context = Context()
    called: list[Context] = []

    async def setup(ctx: Context) -> None:
        called.append(ctx)

    context.cancel()
    await context.run_forever(setup, options.servers(server.url))
    assert called == []


async def test_wait_ends_when_cancelled() -> None:
    context = Context()
    waiting = asyncio.create_task(context.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    context.cancel()
    await waiting


async def test_wait_for_runs_to_the_end() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    context = Context()
    await context.wait_for(work())
    assert done == [1]
    assert not context.cancelled()


async def test_wait_for_raises_what_the_coroutine_raises() -> None:
    async def fail() -> None:
        raise KeyError("of the work")

    with pytest.raises(KeyError, match="of the work"):
        await Context().wait_for(fail())


async def test_wait_for_ends_with_the_context() -> None:
    context = Context()
    asyncio.get_running_loop().call_soon(context.cancel)
    await context.wait_for(forever())
    assert context.cancelled()


async def test_wait_for_tells_of_a_cancellation_from_elsewhere() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(StoppedError) as caught:
        await Context().wait_for(cancelled())
    assert str(caught.value) == "a coroutine of the context was cancelled from elsewhere"


async def test_wait_for_passes_cancellation_on() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.append("work")

    waiting = asyncio.create_task(Context().wait_for(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["work"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_trapped_signal_cancels(number: signal.Signals) -> None:
    async with Context() as context:
        context.trap_signal()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(context.wait(), LONG)
    assert context.cancelled()


async def test_only_named_signals_are_trapped(server: NatsServer) -> None:
    context = Context()

    async def setup(ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    await asyncio.wait_for(
        context.run_forever(setup, options.servers(server.url), trap_signals=(signal.SIGUSR1,)),
        LONG,
    )
    assert context.cancelled()


async def test_events_of_the_connection_reach_their_callbacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One callback raises and one is slow; the others still run, and the connection comes back."""
    port = free_port()
    events: asyncio.Queue[str] = asyncio.Queue()
    context = Context()

    async def raising() -> None:
        raise RuntimeError("of the callback")

    async def disconnected() -> None:
        await events.put("disconnected")

    async def slow_reconnected() -> None:
        await asyncio.sleep(0.1)
        await events.put("reconnected")

    async def closed() -> None:
        await events.put("closed")

    context.add_disconnected_callback(raising)
    context.add_disconnected_callback(disconnected)
    context.add_reconnected_callback(slow_reconnected)
    context.add_closed_callback(closed)
    async with asyncio.timeout(LONG):
        async with context:
            with nats_server(port=port) as first:
                await context.connect(options.servers(first.url))
                service = await context.add_service("returning", "1.0.0")
                await service.add_endpoint("echo", echo, subject="returning.echo")
            assert await events.get() == "disconnected"
            with nats_server(port=port) as second:
                assert await events.get() == "reconnected"
                other = await nats.connect(second.url)
                answer = await micro.Client(other).request("returning.echo", b"x", timeout=LONG)
                assert answer.data == b"x"
                await other.close()
                context.cancel()
                await service.stop()
                await context.client.close()
        seen = set()
        while not events.empty():
            seen.add(events.get_nowait())
    assert "closed" in seen or context.client.is_closed
    assert "of the callback" in caplog.text


async def test_closing_calls_the_closed_callbacks(server: NatsServer) -> None:
    events: list[str] = []
    context = Context()

    async def closed() -> None:
        events.append("closed")

    context.add_closed_callback(closed)
    async with context:
        await context.connect(options.servers(server.url))
    assert events == ["closed"]


async def test_asynchronous_errors_reach_their_callbacks() -> None:
    config = """
    authorization { users = [ { user: "u", password: "p", permissions: {
        publish: ["allowed"], subscribe: ["_INBOX.>"] } } ] }
    """
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    context = Context()
    context.add_error_callback(errors.put)
    with nats_server(config=config) as server:
        async with context, asyncio.timeout(LONG):
            await context.connect(options.servers(server.url), options.user_password("u", "p"))
            await context.client.publish("forbidden")
            error = await errors.get()
    assert "permissions violation for publish" in str(error).lower()


async def test_connection_gone_for_good_ends_the_program(server: NatsServer) -> None:
    context = Context()
    ready = asyncio.Event()

    async def setup(ctx: Context) -> None:
        ready.set()

    with nats_server() as going:
        running = asyncio.create_task(
            context.run_forever(
                setup,
                options.servers(going.url),
                options.reconnect(first_delay=0.01, max_delay=0.01, max_attempts=2),
            )
        )
        await ready.wait()
    with pytest.raises(micro.ConnectError, match=r"^the connection is closed for good: "):
        await asyncio.wait_for(running, LONG)


async def never(ctx: Context) -> None:
    raise AssertionError("never connected")


def test_run_ends_with_one_line_when_no_server_is_there() -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit) as caught:
        micro.run(never, options.servers(url))
    assert str(caught.value).startswith(f"micro: cannot connect to {url}: ")
    assert "\n" not in str(caught.value)


def test_run_ends_with_one_line_when_the_options_are_not_acceptable() -> None:
    with pytest.raises(SystemExit) as caught:
        micro.run(never, options.servers("http://x"))
    assert str(caught.value) == (
        "micro: invalid server URL 'http://x': expected one of the schemes nats, tls, ws, wss"
    )


def test_run_lets_other_errors_through(server: NatsServer) -> None:
    async def setup(ctx: Context) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        micro.run(setup, options.servers(server.url))


def test_run_returns_when_the_context_is_cancelled(server: NatsServer) -> None:
    contexts: list[Context] = []

    async def setup(ctx: Context) -> None:
        contexts.append(ctx)
        ctx.cancel()

    client = NatsClient()
    micro.run(setup, options.servers(server.url), client=client)
    assert contexts[0].client is client


def test_run_ends_on_ctrl_c_without_a_traceback(server: NatsServer) -> None:
    async def setup(ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as caught:
        micro.run(setup, options.servers(server.url))
    assert caught.value.code == 130


async def test_one_signal_stops_all_contexts_of_a_loop(server: NatsServer) -> None:
    ready: asyncio.Queue[None] = asyncio.Queue()

    async def setup(ctx: Context) -> None:
        await ctx.add_service("one-of-two", "1.0.0")
        ready.put_nowait(None)

    contexts = [Context(), Context()]
    tasks = [
        asyncio.create_task(ctx.run_forever(setup, options.servers(server.url), trap_signals=True))
        for ctx in contexts
    ]
    async with asyncio.timeout(20):
        for _ in tasks:
            await ready.get()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.gather(*tasks)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_context_that_ends_leaves_the_signals_to_the_other() -> None:
    other = Context()
    async with other, asyncio.timeout(20):
        async with Context() as first:
            first.trap_signal(signal.SIGTERM)
            other.trap_signal(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        await other.wait()


async def test_a_second_signal_hurries_all_contexts_of_a_loop() -> None:
    contexts = [Context(), Context()]
    for ctx in contexts:
        await ctx.__aenter__()
        ctx.trap_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        for number in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await contexts[0].wait()
            await contexts[1].wait()
            while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL and number:
                await asyncio.sleep(0)
    for ctx in contexts:
        await ctx.__aexit__(None, None, None)


def test_trapping_signals_outside_of_the_main_thread_is_one_clear_error() -> None:
    async def run() -> None:
        async with Context() as ctx:
            ctx.trap_signal()

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(
            ConfigError,
            match=r"^SIGINT can be trapped in the main thread only: "
            r"leave out trap_signals, and stop with Context.cancel\(\)$",
        ),
    ):
        pool.submit(asyncio.run, run()).result()


class NoSignals(asyncio.SelectorEventLoop):
    """An event loop as that of Windows."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError


def test_trapping_signals_where_loops_have_none_is_one_clear_error() -> None:
    async def run() -> None:
        async with Context() as ctx:
            ctx.trap_signal()

    with (
        asyncio.Runner(loop_factory=NoSignals) as runner,
        pytest.raises(
            ConfigError,
            match=r"^event loops of this system have no signal handlers: ",
        ),
    ):
        runner.run(run())


async def test_run_inside_a_running_loop_is_one_clear_error() -> None:
    async def setup(ctx: Context) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match=r"^an event loop runs already, so micro.run cannot"):
        micro.run(setup)
