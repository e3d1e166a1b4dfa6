"""Payloads for people: templates of requests, and schemas as tables."""
