"""Roles, grants, logins, broker topology and migrations, as a command."""
