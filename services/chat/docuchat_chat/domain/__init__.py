"""Pure rules of chat: chats, turns, prompts, citations and quotes."""
