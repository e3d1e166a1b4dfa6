"""Apicurio Registry clients and the schema registry as a NATS service."""
