"""What who manages a chatbot sees of its use."""
