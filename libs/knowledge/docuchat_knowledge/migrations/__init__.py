"""Alembic versions of schema `knowledge`, in plain SQL."""
