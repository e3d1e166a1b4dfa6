"""One request with its tries: policy, limits, and the loop that runs them."""
