"""Groups: people of a tenant under one name."""
