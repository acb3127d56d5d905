"""API keys: of users, and of the tenant for its programs."""
