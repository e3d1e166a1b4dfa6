"""Services and groups: registration, discovery (ADR-32), contracts, callbacks."""
