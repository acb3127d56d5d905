"""Operators: who runs the installation, over all tenants."""
