"""Registrations: how strangers become users, and who owns a new tenant."""
