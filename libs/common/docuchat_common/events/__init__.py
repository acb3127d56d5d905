"""The event catalogue: what the services tell each other and everybody else, as CloudEvents 1.0."""
