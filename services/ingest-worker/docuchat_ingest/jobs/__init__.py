"""Which document is worked on, what becomes of it, and what is looked after besides."""
