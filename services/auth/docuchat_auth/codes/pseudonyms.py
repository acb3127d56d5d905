"""Keyed digests: what Redis holds in place of codes and addresses."""

import hashlib
import hmac

from docuchat_auth.codes.domain import Account
from docuchat_auth.derived_keys import derive_key
from docuchat_auth.users.domain import Email


class CodeDigests:
    """Keyed digests of sign-in codes. A code has 20 bits, so a bare hash of it would be no protection."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "sign-in-code")

    def digest(self, account: Account, code: str) -> str:
        """Binds the code to its tenant and address; 64 hexadecimal characters."""
        message = "\0".join((str(int(account.tenant_id)), account.email, code))
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()


class KeyedPseudonyms:
    """Names for addresses in Redis keys that only the holder of JWT_SECRET can relate to an address."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "pseudonym")

    def of_account(self, account: Account) -> str:
        """A name for an address inside its tenant."""
        return f"{int(account.tenant_id)}:{self._name(f'{int(account.tenant_id)}|{account.email}')}"

    def of_email(self, email: Email) -> str:
        """A name for an address in whatever tenant."""
        return self._name(email)

    def _name(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]
