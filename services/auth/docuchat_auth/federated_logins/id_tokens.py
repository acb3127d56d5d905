"""Read an ID token (OpenID Connect Core §3.1.3.7)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from docuchat_auth.federated_logins.errors import ProviderAnswerInvalid

logger = structlog.get_logger()

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures of a private key: with a shared secret, or with none, whoever reads the public keys could make tokens."""
_KINDS: Final[Mapping[object, Any]] = {"RSA": RSAKey, "EC": ECKey}
_PUBLIC: Final = frozenset({"kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"})
_LONGEST_MEMBER: Final = 1400
"""Of a key: the modulus of an RSA key of 8192 bits."""
_MOST_KEYS: Final = 50
_LEEWAY_SECONDS: Final = 60
_LONGEST_SUBJECT: Final = 255


class UnknownKey(Exception):
    """None of the keys is the one that signed; there may be newer ones."""


def signing_keys(published: Any) -> KeySet:
    """The usable public keys among the first 50 of a JWKS; others are as if they were not there."""
    listed = published.get("keys") if isinstance(published, dict) else None
    keys = []
    for one in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        kind = _KINDS.get(one.get("kty")) if isinstance(one, dict) else None
        if kind is None or one.get("use", "sig") != "sig":
            continue
        try:
            keys.append(kind.import_key(_public(one)))
        except (JoseError, ValueError, TypeError):
            logger.info("oidc.key_unreadable")
    return KeySet(keys)


def _public(key: dict[str, Any]) -> dict[str, str]:
    """What is needed of a key to verify with. Raises ValueError for what no key has."""
    members = {name: value for name, value in key.items() if name in _PUBLIC and isinstance(value, str)}
    if any(len(value) > _LONGEST_MEMBER for value in members.values()):
        raise ValueError("a member of the key is too long")
    return members


def read_id_token(
    text: str,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str | None,
    moment: datetime,
) -> dict[str, Any]:
    """Its claims, which are the issuer's, for this client and this sign-in, and of now.

    Raises ProviderAnswerInvalid, and UnknownKey where other keys may help.
    """
    try:
        token = jwt.decode(text, keys, algorithms=ALGORITHMS, registry=_registry())
        claims = CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": issuer},
                "aud": {"essential": True, "value": client_id},
                "exp": {"essential": True},
                "iat": {"essential": True},
            },
            params={"client_id": client_id, "nonce": nonce, "access_token": access_token},
        )
        claims.validate(now=int(moment.timestamp()), leeway=_LEEWAY_SECONDS)
    except InvalidKeyIdError as error:
        raise UnknownKey from error
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("oidc.token_refused", reason=type(error).__name__, claim=getattr(error, "claim", None))
        raise ProviderAnswerInvalid from error
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise ProviderAnswerInvalid
    return dict(claims)


def _registry() -> jws.JWSRegistry:
    return jws.JWSRegistry(algorithms=list(ALGORITHMS))


def listed(value: object) -> Sequence[str]:
    """A claim that is a text or a list of texts."""
    given = value if isinstance(value, list) else [value]
    return [one for one in given if isinstance(one, str)]
