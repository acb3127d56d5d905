"""Tenants, users, sign-in codes, tokens and signing keys."""
