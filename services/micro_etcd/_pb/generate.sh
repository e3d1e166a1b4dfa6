#!/bin/sh
# Regenerates the stubs. The generator is pinned to the protobuf series that is our lower bound: stubs work with
# their own series and every later one, never with an earlier one.
set -eu
cd "$(dirname "$0")"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m pip install --quiet --target "$tools" 'grpcio-tools==1.72.*'
PYTHONPATH="$tools" "${PYTHON:-python3}" -m grpc_tools.protoc -I. --python_out=. --pyi_out=. micro_etcd.proto
