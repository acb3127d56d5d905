"""Titles of chats, by the model."""
