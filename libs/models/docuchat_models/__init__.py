"""Model providers: chat, embeddings, token counting, throttle."""
