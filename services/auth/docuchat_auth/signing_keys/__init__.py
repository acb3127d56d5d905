"""Signing keys: made, rotated, published, and what they sign."""
