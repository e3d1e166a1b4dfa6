"""The parts of both clients: reading, watching, locks, leadership, live settings."""
