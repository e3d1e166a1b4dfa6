"""Events: handlers of messages without answers, from subjects and from JetStream consumers."""
