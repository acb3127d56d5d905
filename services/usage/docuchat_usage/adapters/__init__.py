"""The world behind this service."""
