"""The check for the extra `etcd`: `python -m micro_etcd` fails with one line, not a traceback."""

import sys

try:
    import google.protobuf  # noqa: F401 - checks that it is installed
    import grpc  # noqa: F401 - checks that it is installed
except ModuleNotFoundError as missing:
    reason = f"micro_etcd: {missing.msg}: pip install 'natsmicro[etcd]'"
    if sys.orig_argv[1:3] == ["-m", "micro_etcd"]:
        raise SystemExit(reason) from None
    raise ModuleNotFoundError(reason, name=missing.name) from missing
