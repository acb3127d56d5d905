"""Logins: signing in by password."""
