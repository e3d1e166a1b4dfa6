"""The gRPC connection to an etcd cluster: channels, failover, authentication, status."""

import micro_etcd._extra  # noqa: F401 - first: names the extra when it is missing
