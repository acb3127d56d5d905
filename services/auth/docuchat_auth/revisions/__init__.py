"""Revisions: what changed since access tokens were signed."""
