"""Endpoints: admission, execution, answers and counters of their requests."""
