"""Real servers, a scripted model provider and waiting helpers for tests and benchmarks."""
