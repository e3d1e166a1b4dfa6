"""The registry as a NATS service."""
