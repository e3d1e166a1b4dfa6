"""What callers see of requests: events, results, metrics."""
