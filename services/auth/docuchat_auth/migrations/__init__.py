"""Alembic steps of schema `auth`, in plain SQL."""
