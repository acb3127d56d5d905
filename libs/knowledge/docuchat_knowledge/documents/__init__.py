"""Documents as their owners see them: registered, shown, retried, deleted."""
