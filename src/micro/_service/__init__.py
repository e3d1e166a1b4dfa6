"""A service and its groups: registration, discovery answers (ADR-32), contracts, error notices."""
