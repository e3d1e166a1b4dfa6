"""What happens to a request of an endpoint: admission, execution, answer, counters."""
