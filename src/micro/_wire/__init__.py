"""The bytes of NATS: the two transport paths, subscriptions, fences, nats-py."""
