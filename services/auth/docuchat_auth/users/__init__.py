"""Users: people of a tenant."""
