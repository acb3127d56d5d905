"""Domains of mail that a tenant has proven to be its own."""
