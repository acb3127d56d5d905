"""The HTTP edge: application factory, problems, identity, health, paging, the client between services."""
