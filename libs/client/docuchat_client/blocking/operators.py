"""Written by scripts/write_blocking.py from operators.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from docuchat_client.blocking.runtime import Blocking
from docuchat_client.operators import OperatorClient
from docuchat_client.provider_models import Authentication, ModelProvider, ProviderCheck


class BlockingOperatorClient(Blocking):
    """What operators do: `async with OperatorClient(key) as operator: await operator.tenants()`."""

    _client: OperatorClient

    def create_tenant(
        self, slug: str, name: str, owner: str, *, signup: str = "invite", domains: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A tenant whose first owner signs in by a code that is mailed to `owner`; again changes nothing."""
        return self._loop.run(self._client.create_tenant(slug, name, owner, signup=signup, domains=domains))

    def tenants(self) -> Iterator[dict[str, Any]]:
        """Every tenant, by id."""
        return self._loop.iterate(self._client.tenants())

    def users(self, tenant: str, **wanted: str) -> Iterator[dict[str, Any]]:
        """The users of a tenant, by id; `email` or `user_id` name the one that is wanted."""
        return self._loop.iterate(self._client.users(tenant, **wanted))

    def find_user(self, tenant: str, reference: str) -> dict[str, Any]:
        """The user of a tenant with this id or e-mail address. Raises NotFound."""
        return self._loop.run(self._client.find_user(tenant, reference))

    def tenant_id(self, reference: str) -> int:
        """The id of the tenant with this id or slug. Raises NotFound."""
        return self._loop.run(self._client.tenant_id(reference))

    def find_tenant(self, reference: str) -> dict[str, Any]:
        """The tenant with this id, slug or customer id. Raises NotFound."""
        return self._loop.run(self._client.find_tenant(reference))

    def set_signup(self, tenant: str, signup: str, domains: Sequence[str] = ()) -> dict[str, Any]:
        """Say who joins uninvited: `invite` (nobody), `domains` (who has an address of one of them) or `open`."""
        return self._loop.run(self._client.set_signup(tenant, signup, domains))

    def release_domain(self, tenant: str, domain: str) -> None:
        """Take a proven domain of mail from a tenant, so that another one can prove it."""
        self._loop.run(self._client.release_domain(tenant, domain))

    def set_suspended(self, tenant: str, *, is_suspended: bool) -> dict[str, Any]:
        """Allow nothing but reading in a tenant, or everything again."""
        return self._loop.run(self._client.set_suspended(tenant, is_suspended=is_suspended))

    def delete_tenant(self, tenant: str) -> dict[str, Any]:
        """Have a tenant deleted after the time of grace."""
        return self._loop.run(self._client.delete_tenant(tenant))

    def restore_tenant(self, tenant: str) -> dict[str, Any]:
        """Take the deletion of a tenant back."""
        return self._loop.run(self._client.restore_tenant(tenant))

    def deletion_receipt(self, tenant: str) -> dict[str, Any]:
        """What each service erased of a deleted tenant, by its id or customer id, and what it keeps."""
        return self._loop.run(self._client.deletion_receipt(tenant))

    def set_role(self, tenant: str, user: str, role: str) -> dict[str, Any]:
        """Give a user (an id or e-mail address) another role."""
        return self._loop.run(self._client.set_role(tenant, user, role))

    def set_active(self, tenant: str, user: str, *, is_active: bool) -> dict[str, Any]:
        """Shut a user (an id or e-mail address) out, or let in again; it is felt within seconds."""
        return self._loop.run(self._client.set_active(tenant, user, is_active=is_active))

    def reset_sign_in(self, tenant: str, user: str, *, second_factors: bool = False) -> dict[str, Any]:
        """End all sessions of a user (an id or e-mail address), and forget failed guesses and known devices.

        With `second_factors` authenticator app, recovery codes and passkeys are taken away as well.
        """
        return self._loop.run(self._client.reset_sign_in(tenant, user, second_factors=second_factors))

    def quota(self, tenant: str, *, user_id: str | None = None) -> dict[str, Any]:
        """What a tenant, and with `user_id` one of its users, may use."""
        return self._loop.run(self._client.quota(tenant, user_id=user_id))

    def set_quota(self, tenant: str, limits: dict[str, Any]) -> dict[str, Any]:
        """Set the limits that are given; None is no limit, the others stay."""
        return self._loop.run(self._client.set_quota(tenant, limits))

    def prices(self, *, every_version: bool = False) -> list[dict[str, Any]]:
        """The prices in force, or every version of them."""
        return self._loop.run(self._client.prices(every_version=every_version))

    def set_price(self, price: dict[str, Any]) -> dict[str, Any]:
        """Add a version of a model's price, in USD per million tokens."""
        return self._loop.run(self._client.set_price(price))

    def rotate_keys(self, *, revoke: bool = False) -> dict[str, Any]:
        """A new signing key; with `revoke` every older one ends at once, and all access tokens with it."""
        return self._loop.run(self._client.rotate_keys(revoke=revoke))

    def audit(self, limit: int, wanted: dict[str, str], *, without: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The latest entries of the installation's audit log; `wanted` as `people.audit_filter` makes it.

        Those of the actions `without` are passed over.
        """
        return self._loop.run(self._client.audit(limit, wanted, without=without))

    def verify_audit(self, tenant: str | None = None) -> dict[str, Any]:
        """Whether the audit log of a tenant, or the installation's, holds: `checked`, `breaks`, and its last entry."""
        return self._loop.run(self._client.verify_audit(tenant))

    def dead_letters(self) -> dict[str, Any]:
        """Messages that no service could take, and the services that did not say."""
        return self._loop.run(self._client.dead_letters())

    def replay_dead_letters(self, *, service: str | None = None, queue: str | None = None) -> dict[str, Any]:
        """Hand dead letters to their queues again."""
        return self._loop.run(self._client.replay_dead_letters(service=service, queue=queue))

    def discard_dead_letters(self, queue: str) -> dict[str, Any]:
        """Forget the dead letters of a queue for good."""
        return self._loop.run(self._client.discard_dead_letters(queue))

    def reembed(self, tenant: str | None = None) -> dict[str, Any]:
        """Queue the documents whose vectors are of another model than today's."""
        return self._loop.run(self._client.reembed(tenant))

    def recount(self) -> dict[str, Any]:
        """Count what the tenants store by the documents' rows."""
        return self._loop.run(self._client.recount())

    def pauses(self) -> list[dict[str, Any]]:
        """What waits for a model provider, and until when."""
        return self._loop.run(self._client.pauses())

    def end_pauses_counted(self) -> int:
        """End all waiting; answers how many accounts it was."""
        return self._loop.run(self._client.end_pauses_counted())

    def end_pauses(self) -> dict[str, Any]:
        """Let what waits for a model provider go on now."""
        return self._loop.run(self._client.end_pauses())

    def status(self) -> dict[str, Any]:
        """How each part is."""
        return self._loop.run(self._client.status())

    def model_providers(self) -> Iterator[ModelProvider]:
        """The platform's providers, in the order in which they were added."""
        return self._loop.iterate(self._client.model_providers())

    def model_provider(self, provider_id: UUID | str) -> ModelProvider:
        """One of the platform's providers."""
        return self._loop.run(self._client.model_provider(provider_id))

    def find_model_provider(self, reference: UUID | str) -> ModelProvider:
        """The platform's provider of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_model_provider(reference))

    def add_model_provider(
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
        return self._loop.run(
            self._client.add_model_provider(
                name,
                base_url,
                api_key=api_key,
                models=models,
                auth=auth,
                query=query,
                enabled=enabled,
                idempotency_key=idempotency_key,
            )
        )

    def change_model_provider(
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
        return self._loop.run(
            self._client.change_model_provider(
                provider_id,
                base_url=base_url,
                api_key=api_key,
                models=models,
                auth=auth,
                query=query,
                enabled=enabled,
                revision=revision,
            )
        )

    def remove_model_provider(self, provider_id: UUID | str) -> None:
        """Delete a provider of the platform and its key."""
        self._loop.run(self._client.remove_model_provider(provider_id))

    def check_model_provider(self, provider_id: UUID | str) -> ProviderCheck:
        """Ask the provider for its models, which costs nothing, and say what is wrong."""
        return self._loop.run(self._client.check_model_provider(provider_id))
