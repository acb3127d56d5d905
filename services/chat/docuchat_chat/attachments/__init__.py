"""Files that are used in chats."""
