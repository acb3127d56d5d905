"""The use cases of chat."""
