"""Passwords: kept as Argon2id, changed by who knows them, reset by who reads the mail."""
