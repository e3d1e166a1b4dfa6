"""The registry in a JetStream key-value bucket."""
