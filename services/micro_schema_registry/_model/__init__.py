"""Artifacts, versions, rules, and the protocol that every registry implements."""
