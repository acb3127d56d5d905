"""What people own in the knowledge base, when they go."""
