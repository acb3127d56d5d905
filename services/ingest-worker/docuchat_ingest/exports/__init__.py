"""Archives of what is kept of a tenant, or of one of its people."""
