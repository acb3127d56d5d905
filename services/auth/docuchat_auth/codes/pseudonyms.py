"""Keyed digests: what Redis holds in place of codes and addresses."""

import hashlib
import hmac

from docuchat_auth.codes.domain import Account, Purpose
from docuchat_auth.users.domain import Email, Username
from docuchat_common.sealing import derive_key


def _beyond_sign_in(account: Account) -> tuple[str, ...]:
    return () if account.purpose is Purpose.SIGN_IN else (account.purpose.value,)


class CodeDigests:
    """Keyed digests of sign-in codes. A code has 20 bits, so a bare hash of it would be no protection."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "sign-in-code")

    def digest(self, account: Account, code: str) -> str:
        """Binds the code to its tenant and address; 64 hexadecimal characters."""
        message = "\0".join((str(int(account.tenant_id)), account.email, code, *_beyond_sign_in(account)))
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()


class KeyedPseudonyms:
    """Names for addresses in Redis keys that only the holder of JWT_SECRET can relate to an address."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "pseudonym")

    def of_account(self, account: Account) -> str:
        """A name for an address inside its tenant, and for what it is to open."""
        name = self._name(f"{int(account.tenant_id)}|{account.email}")
        return ":".join((str(int(account.tenant_id)), name, *_beyond_sign_in(account)))

    def of_email(self, email: Email) -> str:
        """A name for an address in whatever tenant."""
        return self._name(email)

    def of_username(self, username: Username) -> str:
        """A name for a user name in whatever tenant."""
        return self._name(f"username|{username}")

    def _name(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]
