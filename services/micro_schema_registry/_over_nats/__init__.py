"""The client of the registry service over NATS."""
