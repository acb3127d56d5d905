"""What can go wrong in the set-up; every message says what to do."""


class SetupError(Exception):
    """The set-up cannot be done."""
