"""Redis, the blob store and the other services behind the ports."""
