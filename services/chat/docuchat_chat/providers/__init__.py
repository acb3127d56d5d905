"""Model providers as rows: the platform's, made by operators, and those that tenants bring."""
