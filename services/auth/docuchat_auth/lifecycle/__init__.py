"""A tenant's own settings, and its end."""
