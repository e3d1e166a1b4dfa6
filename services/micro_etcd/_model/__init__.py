"""Keys, values, transactions and events, and the protocols that both clients implement."""
