"""Hybrid search over live chunks."""
