"""Tenants: customer companies, found by id or slug."""
