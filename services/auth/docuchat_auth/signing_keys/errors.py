"""What can go wrong with signing keys. A class docstring is the message that the client reads."""

from docuchat_common.errors import UpstreamUnavailable


class NoSigningKey(UpstreamUnavailable):
    """There is no key to sign tokens with yet; try again shortly."""

    code = "no_signing_key"


class KeySealBroken(Exception):
    """A private key cannot be opened: it was sealed under another JWT_SECRET."""
