"""Invitations: how people come into a tenant that takes no strangers."""
