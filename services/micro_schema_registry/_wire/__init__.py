"""JSON models and problem documents that the service and its client exchange over NATS."""
