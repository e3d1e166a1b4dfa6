"""The client: requests, replies from many services, discovery and rates."""
