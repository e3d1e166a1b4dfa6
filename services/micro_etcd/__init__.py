"""etcd client and etcd as a NATS service."""
