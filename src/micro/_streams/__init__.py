"""Answers of many messages: their format, the sending of items, and the reading."""
