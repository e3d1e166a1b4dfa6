"""What a registry holds and does: artifacts, versions, rules, and the protocol of a client."""
