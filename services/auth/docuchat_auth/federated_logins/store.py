"""Sign-ins on their way, in Redis: each is read once, and only by who brings its secret."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis

from docuchat_auth.federated_logins.domain import CODE_LIFETIME, FLOW_LIFETIME, Flow, Grant, Person, name_of
from docuchat_auth.users.domain import Email
from docuchat_common.ids import TenantId
from docuchat_common.redis import redis_errors_translated
from docuchat_common.sealing import Seal


class PendingSignIns:
    """Kept under the hash of a secret and sealed with it: who reads Redis can use nothing of it."""

    def __init__(self, client: Redis, secret: str) -> None:
        self._client = client
        self._secret = secret

    async def put_flow(self, state: str, flow: Flow) -> None:
        """Keep a sign-in while its browser is at the provider."""
        kept = {
            "tenant": int(flow.tenant_id),
            "provider": str(flow.provider_id),
            "nonce": flow.nonce,
            "verifier": flow.verifier,
            "browser": flow.browser,
            "return_to": flow.return_to,
            "challenge": flow.challenge,
        }
        await self._put("flow", state, kept, FLOW_LIFETIME)

    async def take_flow(self, state: str) -> Flow | None:
        """A sign-in, once."""
        kept = await self._take("flow", state)
        if kept is None:
            return None
        return Flow(
            TenantId(kept["tenant"]),
            UUID(kept["provider"]),
            kept["nonce"],
            kept["verifier"],
            kept["browser"],
            kept["return_to"],
            kept["challenge"],
        )

    async def put_grant(self, code: str, grant: Grant) -> None:
        """Keep who may have tokens."""
        person = grant.person
        kept = {
            "tenant": int(grant.tenant_id),
            "provider": str(grant.provider_id),
            "challenge": grant.challenge,
            "subject": person.subject,
            "email": person.email,
            "email_is_verified": person.email_is_verified,
            "name": person.name,
            "values": None if person.values is None else sorted(person.values),
        }
        await self._put("code", code, kept, CODE_LIFETIME)

    async def take_grant(self, code: str) -> Grant | None:
        """Who may have tokens, once."""
        kept = await self._take("code", code)
        if kept is None:
            return None
        values, email = kept["values"], kept["email"]
        person = Person(
            kept["subject"],
            None if email is None else Email(email),
            kept["email_is_verified"],
            kept["name"],
            None if values is None else frozenset(values),
        )
        return Grant(TenantId(kept["tenant"]), UUID(kept["provider"]), kept["challenge"], person)

    async def _put(self, kind: str, secret: str, kept: dict[str, Any], lifetime: timedelta) -> None:
        sealed = self._under(kind, secret).close(orjson.dumps(kept))
        with redis_errors_translated():
            await self._client.set(_key(kind, secret), sealed, px=lifetime)

    async def _take(self, kind: str, secret: str) -> dict[str, Any] | None:
        with redis_errors_translated():
            sealed = await self._client.getdel(_key(kind, secret))
        opened = self._under(kind, secret).open(sealed) if isinstance(sealed, bytes) else None
        return None if opened is None else orjson.loads(opened)

    def _under(self, kind: str, secret: str) -> Seal:
        return Seal(self._secret, f"federated-login/{kind}/{secret}")


def _key(kind: str, secret: str) -> str:
    return f"auth:oidc:{kind}:{name_of(secret)}"
