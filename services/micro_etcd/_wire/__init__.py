"""What the service and its client exchange over NATS: JSON models, headers, errors."""
