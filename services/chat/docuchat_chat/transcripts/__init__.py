"""Chats as files."""
