"""The guarded child process that opens documents, and the worker's side of it."""
