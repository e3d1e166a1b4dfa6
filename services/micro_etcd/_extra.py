"""What `python -m micro_etcd` says when the extra is not installed: one line instead of a traceback."""

import sys

try:
    import google.protobuf  # noqa: F401 - whether it is there
    import grpc  # noqa: F401 - whether it is there
except ModuleNotFoundError as missing:
    reason = f"micro_etcd: {missing.msg}: pip install 'natsmicro[etcd]'"
    if sys.orig_argv[1:3] == ["-m", "micro_etcd"]:
        raise SystemExit(reason) from None
    raise ModuleNotFoundError(reason, name=missing.name) from missing
