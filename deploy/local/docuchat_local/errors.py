"""What can keep the local product from running; every message says what to do."""


class LocalError(Exception):
    """The local product cannot run."""


class SetupFailed(LocalError):
    """A step of the set-up failed."""


class MissingPackages(LocalError):
    """A server program is not installed and could not be installed here."""


class ServerFailed(LocalError):
    """A server or service did not start."""


class AlreadyRunning(LocalError):
    """The data folder is in use by another running product."""


class BadEnvironment(LocalError):
    """The environment asks for something that cannot be."""
