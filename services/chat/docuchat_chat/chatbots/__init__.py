"""Chatbots: rows, drafts and published versions."""
