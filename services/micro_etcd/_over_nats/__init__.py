"""The etcd client that speaks to the NATS service."""
