"""What browsers are told and answer, by the `webauthn` library."""

import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Final

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, options_to_json_dict, parse_client_data_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from docuchat_auth.passkeys.challenges import LIFETIME
from docuchat_auth.passkeys.domain import Asserted, Attested
from docuchat_auth.users.domain import User

_TIMEOUT_MILLISECONDS: Final = int(LIFETIME.total_seconds() * 1000)


class NotAccepted(Exception):
    """What a browser sent does not prove what it should."""


class RelyingParty:
    """This installation, as authenticators know it: every passkey is discoverable and verifies its user."""

    def __init__(self, rp_id: str, name: str, origins: Sequence[str]) -> None:
        """`origins` are those of the pages that may ask for passkeys of `rp_id`."""
        self._id = rp_id
        self._name = name
        self._origins = list(origins)

    def creation_options(self, user: User, known: Iterable[bytes], challenge: bytes) -> dict[str, Any]:
        """For `navigator.credentials.create`; authenticators that hold one of `known` refuse."""
        who = user.email or user.claimed_email or user.username or ""
        return options_to_json_dict(
            generate_registration_options(
                rp_id=self._id,
                rp_name=self._name,
                user_id=handle_of(user),
                user_name=who,
                user_display_name=user.name or who,
                challenge=challenge,
                timeout=_TIMEOUT_MILLISECONDS,
                authenticator_selection=AuthenticatorSelectionCriteria(
                    resident_key=ResidentKeyRequirement.REQUIRED,
                    require_resident_key=True,
                    user_verification=UserVerificationRequirement.REQUIRED,
                ),
                exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
            )
        )

    def request_options(self, challenge: bytes) -> dict[str, Any]:
        """For `navigator.credentials.get`: the same for everybody, whoever asks."""
        return options_to_json_dict(
            generate_authentication_options(
                rp_id=self._id,
                challenge=challenge,
                timeout=_TIMEOUT_MILLISECONDS,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )

    def verify_creation(self, credential: dict[str, Any], challenge: bytes) -> Attested:
        """What an authenticator made. Who built it is not asked. Raises NotAccepted."""
        try:
            made = verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origins,
                require_user_verification=True,
            )
        except Exception as error:  # whatever its parsers make of a stranger's bytes
            raise NotAccepted(type(error).__name__) from error
        return Attested(
            made.credential_id, made.credential_public_key, made.sign_count, made.credential_backed_up
        )  # fmt: skip

    def verify_request(self, credential: dict[str, Any], challenge: bytes, public_key: bytes) -> Asserted:
        """That the key signed this. Its count is judged where it is kept. Raises NotAccepted."""
        try:
            shown = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origins,
                credential_public_key=public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        except Exception as error:  # as above
            raise NotAccepted(type(error).__name__) from error
        return Asserted(shown.new_sign_count, shown.credential_backed_up)


def handle_of(user: User) -> bytes:
    """What an authenticator keeps of whose passkey it is: nothing personal."""
    return user.id.bytes


def bytes_of(text: str) -> bytes:
    """What a browser sent as base64url. Raises NotAccepted."""
    try:
        return base64url_to_bytes(text)
    except (binascii.Error, ValueError) as error:
        raise NotAccepted(type(error).__name__) from error


def challenge_in(client_data: str) -> bytes:
    """The challenge that a browser says to answer; nothing is proven by that. Raises NotAccepted.

    Pages of other sites that frame ours are refused.
    """
    try:
        parsed = parse_client_data_json(bytes_of(client_data))
        if parsed.cross_origin:
            raise NotAccepted("cross-origin")
        return bytes(parsed.challenge)
    except Exception as error:  # as above
        raise NotAccepted(type(error).__name__) from error
