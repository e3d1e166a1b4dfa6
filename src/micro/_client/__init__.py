"""The client: requests, gathered replies, discovery and rates."""
