"""etcd as a NATS service: namespaces, rights, endpoints."""
