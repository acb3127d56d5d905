"""A tenant's sets of documents."""
