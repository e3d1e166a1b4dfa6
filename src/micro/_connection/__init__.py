"""The NATS connection: settings, credentials, first connection, reconnection, callbacks."""
