"""Codes: signing in by a code that comes by mail."""
