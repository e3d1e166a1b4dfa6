"""The registry that is kept in a JetStream key-value bucket."""
