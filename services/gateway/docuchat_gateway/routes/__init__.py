"""HTTP and WebSocket: parse, call a use case, present."""
