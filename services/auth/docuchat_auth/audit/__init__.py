"""The audit log: who did what, in chains of hashes."""
