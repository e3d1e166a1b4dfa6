"""The client of the registry service."""
