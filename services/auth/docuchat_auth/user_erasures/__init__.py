"""The erasure of one person: what is gone everywhere, and what is kept for which reason."""
