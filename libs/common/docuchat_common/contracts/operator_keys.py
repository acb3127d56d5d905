"""An operator's credential, `dco_<id>_<secret>`: made by `docuchat_setup`, stored hashed and checked by auth."""

from docuchat_common.contracts.credentials import Credential, new_credential, parse_credential

OperatorKey = Credential


def new_operator_key() -> OperatorKey:
    """A credential with a new id and a secret of 256 random bits."""
    return new_credential("dco")


def parse_operator_key(text: str) -> OperatorKey | None:
    """The credential in `text`; None when it is none."""
    return parse_credential("dco", text)
