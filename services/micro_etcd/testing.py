"""Real etcd servers for tests and trials; needs no pytest."""

from micro.testing import free_port
from micro_etcd._local_etcd import EtcdCluster, EtcdServer, find_etcd

__all__ = ["EtcdCluster", "EtcdServer", "find_etcd", "free_port"]
