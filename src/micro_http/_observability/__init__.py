"""The events, results and metrics of requests."""
