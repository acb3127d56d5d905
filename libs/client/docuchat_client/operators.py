"""The operator's client: `/v1/operator`, opened by an operator's credential."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

from docuchat_client.bodies import given, parsed, provider_body
from docuchat_client.credentials import Credentials, MemoryCredentials
from docuchat_client.errors import InvalidInput, NotFound, Unauthenticated
from docuchat_client.models import Model
from docuchat_client.provider_models import Authentication, ModelProvider, ProviderCheck
from docuchat_client.transport import Transport

M = TypeVar("M", bound=Model)
LOCAL_KEY = Path(".local", "operator.json")


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """An operator's credential and the service that it is for."""

    server: str
    key: str = field(repr=False)


def find_operator_key(server: str | None, key: str | None, *, default_server: str, folder: Path) -> OperatorKey:
    """The credential that was given or stands in DOCUCHAT_OPERATOR_KEY, else that of a local run at or above `folder`.

    The credential of a local run is sent to no other service. Raises Unauthenticated.
    """
    server = server or os.environ.get("DOCUCHAT_SERVER") or None
    if key := key or os.environ.get("DOCUCHAT_OPERATOR_KEY"):
        return OperatorKey(server or default_server, key)
    if found := find_local_run(folder):
        if server is not None and server.rstrip("/") != found.server.rstrip("/"):
            message = f"The local run's credential is for {found.server}, not for {server}."
            raise Unauthenticated(message, code="operator_key_of_other_server")
        return found
    raise Unauthenticated(
        "There is no operator's credential: give --key, set DOCUCHAT_OPERATOR_KEY, or go to the folder of a local run. "
        "`python -m docuchat_setup operator` makes one.",
        code="no_operator_key",
    )


def find_local_run(folder: Path) -> OperatorKey | None:
    """The address of a local run at or above `folder`, and its operator's credential. Raises Unauthenticated."""
    for candidate in (folder, *folder.parents):
        path = candidate / LOCAL_KEY
        if path.is_file():
            try:
                kept = json.loads(path.read_text())
                return OperatorKey(str(kept["server"]), str(kept["key"]))
            except (ValueError, KeyError, TypeError) as error:
                raise Unauthenticated(f"{path} is no operator's credential; start the product again.") from error
    return None


class OperatorClient:
    """What operators do: `async with OperatorClient(key) as operator: await operator.tenants()`."""

    def __init__(
        self,
        key: OperatorKey,
        *,
        timeout: float = 30.0,
        longest_wait: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._key = key
        self._transport = Transport(
            key.server,
            MemoryCredentials(),
            tenant=None,
            timeout=timeout,
            retries=2,
            longest_wait=longest_wait,
            on_wait=on_wait,
            user_agent=f"docuchat-client/{version('docuchat-client')}",
        )

    async def __aenter__(self) -> Self:
        try:
            body = {"key": self._key.key}
            token = await self._transport.request("POST", "/v1/operator/token", json=body, signed=False)
            self._transport.store.save(Credentials(server=self._key.server, access_token=token["access_token"]))
        except BaseException:
            await self._transport.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def create_tenant(
        self, slug: str, name: str, owner: str, *, signup: str = "invite", domains: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A tenant whose first owner signs in by a code that is mailed to `owner`; again changes nothing."""
        body = {"slug": slug, "name": name, "owner": owner, "signup": signup, "domains": [*domains]}
        return await self._send("POST", "tenants", body, repeatable=True)

    def tenants(self) -> AsyncIterator[dict[str, Any]]:
        """Every tenant, by id."""
        return self._pages("tenants")

    def users(self, tenant: str, **wanted: str) -> AsyncIterator[dict[str, Any]]:
        """The users of a tenant, by id; `email` or `user_id` name the one that is wanted."""
        return self._pages(f"tenants/{tenant}/users", **wanted)

    async def find_user(self, tenant: str, reference: str) -> dict[str, Any]:
        """The user of a tenant with this id or e-mail address. Raises NotFound."""
        async for user in self.users(tenant, **{"email" if "@" in reference else "user_id": reference}):
            return user
        raise NotFound(f"Tenant {tenant} has no user {reference!r}.", code="user_unknown")

    async def tenant_id(self, reference: str) -> int:
        """The id of the tenant with this id or slug. Raises NotFound."""
        return int((await self.find_tenant(reference))["id"])

    async def find_tenant(self, reference: str) -> dict[str, Any]:
        """The tenant with this id, slug or customer id. Raises NotFound."""
        async for tenant in self.tenants():
            if reference in (str(tenant["id"]), tenant["slug"], tenant.get("customer_id")):
                return tenant
        raise NotFound(f"There is no tenant {reference!r}.", code="tenant_not_found")

    async def set_signup(self, tenant: str, signup: str, domains: Sequence[str] = ()) -> dict[str, Any]:
        """Say who joins uninvited: `invite` (nobody), `domains` (who has an address of one of them) or `open`."""
        body = {"signup": signup, "domains": [*domains]}
        return await self._send("PATCH", f"tenants/{tenant}", body, repeatable=True)

    async def release_domain(self, tenant: str, domain: str) -> None:
        """Take a proven domain of mail from a tenant, so that another one can prove it."""
        await self._send("DELETE", f"tenants/{tenant}/domains/{domain}", repeatable=True)

    async def set_suspended(self, tenant: str, *, is_suspended: bool) -> dict[str, Any]:
        """Allow nothing but reading in a tenant, or everything again."""
        return await self._send("PATCH", f"tenants/{tenant}", {"suspended": is_suspended}, repeatable=True)

    async def delete_tenant(self, tenant: str) -> dict[str, Any]:
        """Have a tenant deleted after the time of grace."""
        found = await self.find_tenant(tenant)
        params = {"confirm": found["slug"]}
        return await self._send("DELETE", f"tenants/{found['id']}", params=params, repeatable=True)

    async def restore_tenant(self, tenant: str) -> dict[str, Any]:
        """Take the deletion of a tenant back."""
        return await self._send("POST", f"tenants/{tenant}/restore", repeatable=True)

    async def deletion_receipt(self, tenant: str) -> dict[str, Any]:
        """What each service erased of a deleted tenant, by its id or customer id, and what it keeps."""
        return await self._send("GET", f"tenants/{tenant}/receipt")

    async def set_role(self, tenant: str, user: str, role: str) -> dict[str, Any]:
        """Give a user (an id or e-mail address) another role."""
        found = await self.find_user(tenant, user)
        return await self._send("PATCH", f"tenants/{tenant}/users/{found['id']}", {"role": role}, repeatable=True)

    async def set_active(self, tenant: str, user: str, *, is_active: bool) -> dict[str, Any]:
        """Shut a user (an id or e-mail address) out, or let in again; it is felt within seconds."""
        found, body = await self.find_user(tenant, user), {"active": is_active}
        return await self._send("PATCH", f"tenants/{tenant}/users/{found['id']}", body, repeatable=True)

    async def reset_sign_in(self, tenant: str, user: str, *, second_factors: bool = False) -> dict[str, Any]:
        """End all sessions of a user (an id or e-mail address), and forget failed guesses and known devices.

        With `second_factors` authenticator app, recovery codes and passkeys are taken away as well.
        """
        found, body = await self.find_user(tenant, user), {"second_factors": True} if second_factors else None
        await self._send("POST", f"tenants/{tenant}/users/{found['id']}/reset-sign-in", body, repeatable=True)
        return found

    async def quota(self, tenant: str, *, user_id: str | None = None) -> dict[str, Any]:
        """What a tenant, and with `user_id` one of its users, may use."""
        return await self._send("GET", f"tenants/{await self.tenant_id(tenant)}/quota", params={"user_id": user_id})

    async def set_quota(self, tenant: str, limits: dict[str, Any]) -> dict[str, Any]:
        """Set the limits that are given; None is no limit, the others stay."""
        if not limits:
            raise InvalidInput("Name at least one limit, for example --tokens 1000000.")
        return await self._send("PUT", f"tenants/{await self.tenant_id(tenant)}/quota", limits)

    async def prices(self, *, every_version: bool = False) -> list[dict[str, Any]]:
        """The prices in force, or every version of them."""
        wanted = {"all": "true"} if every_version else None
        items: list[dict[str, Any]] = (await self._send("GET", "prices", params=wanted))["items"]
        return items

    async def set_price(self, price: dict[str, Any]) -> dict[str, Any]:
        """Add a version of a model's price, in USD per million tokens."""
        return await self._send("POST", "prices", price)

    async def rotate_keys(self, *, revoke: bool = False) -> dict[str, Any]:
        """A new signing key; with `revoke` every older one ends at once, and all access tokens with it."""
        return await self._send("POST", "signing-keys/rotate", {"revoke": revoke})

    async def audit(self, limit: int, wanted: dict[str, str], *, without: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The latest entries of the installation's audit log; `wanted` as `people.audit_filter` makes it.

        Those of the actions `without` are passed over.
        """
        if not without:
            page = await self._send("GET", "audit", params={"limit": str(limit), **wanted})
            return list(page["items"])
        found: list[dict[str, Any]] = []
        async for entry in self._pages("audit", **wanted):
            if entry["action"] not in without:
                found.append(entry)
            if len(found) == limit:
                break
        return found

    async def verify_audit(self, tenant: str | None = None) -> dict[str, Any]:
        """Whether the audit log of a tenant, or the installation's, holds: `checked`, `breaks`, and its last entry."""
        breaks: list[dict[str, Any]] = []
        checked, after = 0, 0
        while True:
            named = {} if tenant is None else {"tenant": tenant}
            part = await self._send("GET", "audit/verify", params={"after": str(after), **named})
            checked, breaks = checked + part["checked"], breaks + part["breaks"]
            if part["next_after"] is None:
                return {**part, "holds": not breaks, "checked": checked, "breaks": breaks}
            after = part["next_after"]

    async def dead_letters(self) -> dict[str, Any]:
        """Messages that no service could take, and the services that did not say."""
        return await self._send("GET", "dead-letters")

    async def replay_dead_letters(self, *, service: str | None = None, queue: str | None = None) -> dict[str, Any]:
        """Hand dead letters to their queues again."""
        body = {name: value for name, value in (("service", service), ("queue", queue)) if value is not None}
        return await self._send("POST", "dead-letters/replay", body)

    async def discard_dead_letters(self, queue: str) -> dict[str, Any]:
        """Forget the dead letters of a queue for good."""
        return await self._send("POST", "dead-letters/discard", {"queue": queue})

    async def reembed(self, tenant: str | None = None) -> dict[str, Any]:
        """Queue the documents whose vectors are of another model than today's."""
        body = {} if tenant is None else {"tenant_id": await self.tenant_id(tenant)}
        return await self._send("POST", "documents/reembed", body)

    async def recount(self) -> dict[str, Any]:
        """Count what the tenants store by the documents' rows."""
        return await self._send("POST", "documents/recount")

    async def pauses(self) -> list[dict[str, Any]]:
        """What waits for a model provider, and until when."""
        items: list[dict[str, Any]] = (await self._send("GET", "pauses"))["items"]
        return items

    async def end_pauses_counted(self) -> int:
        """End all waiting; answers how many accounts it was."""
        waiting = len(await self.pauses())
        await self.end_pauses()
        return waiting

    async def end_pauses(self) -> dict[str, Any]:
        """Let what waits for a model provider go on now."""
        return await self._send("DELETE", "pauses")

    async def status(self) -> dict[str, Any]:
        """How each part is."""
        return await self._send("GET", "status")

    # The platform's providers of models

    async def model_providers(self) -> AsyncIterator[ModelProvider]:
        """The platform's providers, in the order in which they were added."""
        async for provider in self._pages("providers"):
            yield self._parsed(ModelProvider, provider)

    async def model_provider(self, provider_id: UUID | str) -> ModelProvider:
        """One of the platform's providers."""
        return self._parsed(ModelProvider, await self._send("GET", f"providers/{provider_id}"))

    async def find_model_provider(self, reference: UUID | str) -> ModelProvider:
        """The platform's provider of this name or id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for provider in self.model_providers():
            if named in (str(provider.id), provider.name.casefold()):
                return provider
        message = f"There is no provider of models {reference!r}; `docuchat admin model-providers list` shows them."
        raise NotFound(message, code="provider_not_found")

    async def add_model_provider(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        models: Sequence[str | Mapping[str, Any]] = (),
        auth: Authentication | None = None,
        query: Mapping[str, str] | None = None,
        enabled: bool = True,
        idempotency_key: str | None = None,
    ) -> ModelProvider:
        """A provider whose models every tenant may ask for as `name/model`; otherwise as `AsyncDocuChat` has it."""
        body = {"name": name} | provider_body(base_url, api_key, models, auth, query, enabled)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._parsed(ModelProvider, await self._send("POST", "providers", body, headers=headers))

    async def change_model_provider(
        self,
        provider_id: UUID | str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        models: Sequence[str | Mapping[str, Any]] | None = None,
        auth: Authentication | None = None,
        query: Mapping[str, str] | None = None,
        enabled: bool | None = None,
        revision: int | None = None,
    ) -> ModelProvider:
        """Change what is given; `models` replaces all of them. With `revision` nobody's change is overwritten."""
        body = provider_body(base_url, api_key, models, auth, query, enabled) | given(revision=revision)
        changed = await self._send("PATCH", f"providers/{provider_id}", body, repeatable=revision is None)
        return self._parsed(ModelProvider, changed)

    async def remove_model_provider(self, provider_id: UUID | str) -> None:
        """Delete a provider of the platform and its key."""
        await self._send("DELETE", f"providers/{provider_id}", repeatable=True)

    async def check_model_provider(self, provider_id: UUID | str) -> ProviderCheck:
        """Ask the provider for its models, which costs nothing, and say what is wrong."""
        return self._parsed(ProviderCheck, await self._send("POST", f"providers/{provider_id}/check", repeatable=True))

    async def _pages(self, path: str, **params: str) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._send("GET", path, params={"limit": 100, "cursor": cursor, **params})
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def _parsed(self, model: type[M], answer: Any) -> M:
        return parsed(model, answer, self._transport.base_url)

    async def _send(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._transport.request(method, f"/v1/operator/{path}", json=body, **options)
        return answer or {}
