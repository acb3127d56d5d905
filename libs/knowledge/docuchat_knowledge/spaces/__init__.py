"""Embedding spaces as rows, each with its own partial index."""
