"""Where a chat is open just now."""
