"""What can go wrong with a sign-in by an identity provider. A class docstring is the message that the client reads."""

from docuchat_common.errors import Forbidden, InvalidInput, Unauthenticated, UpstreamUnavailable


class ReturnNotAllowed(InvalidInput):
    """`return_to` is none of the addresses that the operator allows (SIGN_IN_RETURN_URLS)."""

    code = "return_not_allowed"


class SignInEnded(Unauthenticated):
    """This sign-in has ended, or was begun in another browser; begin again."""

    code = "sign_in_ended"


class SignInDenied(Unauthenticated):
    """The identity provider did not let you in."""

    code = "sign_in_denied"


class ProviderAnswerInvalid(Unauthenticated):
    """What the identity provider says of you does not hold; tell the tenant's admin, whose settings may be wrong."""

    code = "provider_answer_invalid"


class IdentityProviderUnavailable(UpstreamUnavailable):
    """The identity provider gives no usable answer; try again shortly."""

    code = "identity_provider_unavailable"


class InvalidSignInCode(Unauthenticated):
    """The code is unknown, used, older than a minute, or was asked for by somebody else; begin again."""

    code = "invalid_sign_in_code"


class NotAdmitted(Forbidden):
    """The identity provider knows you, and the tenant does not let you in by it; ask an admin to invite you."""

    code = "not_admitted"
