"""The transport: both message paths, subscriptions, fences, and all knowledge of nats-py."""
