"""What a handler sees: the request, typed arguments, middlewares."""
