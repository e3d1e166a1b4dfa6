"""What both clients share: reading, watching, locks, leadership, live settings."""
