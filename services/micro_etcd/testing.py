"""Real etcd servers for tests and trials; needs no pytest."""

from micro_etcd._server import EtcdCluster, EtcdServer, find_etcd, free_port

__all__ = ["EtcdCluster", "EtcdServer", "find_etcd", "free_port"]
