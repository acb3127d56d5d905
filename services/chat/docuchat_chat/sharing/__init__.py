"""Links to what a chat was at a moment."""
