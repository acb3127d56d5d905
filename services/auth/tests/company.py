"""A company whose people are at an identity provider."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import jwt

from docuchat_auth.adapters.openid import OpenIdClient
from docuchat_auth.federated_logins.admission import Admission
from docuchat_auth.federated_logins.domain import ProviderAnswer, challenge_of, new_secret
from docuchat_auth.federated_logins.service import FederatedSignIn, Places
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.identity_providers.domain import IdentityProvider
from docuchat_auth.identity_providers.schemas import NewIdentityProvider
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.sessions.domain import TokenPair
from docuchat_auth.tenants.domain import SignUp, SignUpMode, Tenant
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_common.contracts.permissions import Role
from docuchat_common.egress import EgressPolicy, open_egress
from docuchat_common.http.caller import Caller
from docuchat_common.redis import open_redis
from docuchat_testkit.eventually import SLOWLY

from .conftest import SECRET, World
from .provider import CLIENT, CLIENT_SECRET, SigningProvider, query_of, serving_provider

HERE = EgressPolicy(allow_http=True, networks=(ipaddress.ip_network("127.0.0.0/8"),), hosts=frozenset({"127.0.0.1"}))
RETURN = "https://app.example/signed-in"
PLACES = Places("https://docuchat.example", frozenset({RETURN}))


def claims_of(pair: TokenPair) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(pair.access_token, options={"verify_signature": False})
    return claims


@dataclass
class Company:
    """A tenant with an owner, whose people are at a provider."""

    world: World
    tenant: Tenant
    owner: User
    provider: SigningProvider
    providers: IdentityProviders
    sign_in: FederatedSignIn
    redis: Any
    known: IdentityProvider

    @property
    def admin(self) -> Caller:
        return Caller(self.tenant.id, "user", self.owner.id, role="owner", session_id=self.world.clock.session_id())

    async def change(self, **fields: Any) -> None:
        self.known = await self.providers.change(self.admin, self.known.id, fields, None)

    async def join(self, **rule: Any) -> None:
        await self.change(join=replace(self.known.join, is_enabled=True, **rule))

    async def prove(self, domain: str) -> None:
        await self.world.tenants.set_signup(self.tenant.id, SignUp(SignUpMode.DOMAINS, frozenset({domain})))

    async def user(self, email: str, role: Role = Role.MEMBER) -> User:
        async with self.world.uow(self.tenant.id) as tx:
            user = await tx.users.register(
                self.tenant.id, Newcomer(email=Email(email)), self.world.clock.now(), may_own=False, role=role
            )
        assert user is not None
        return user

    async def there_and_back(self, **person: Any) -> tuple[ProviderAnswer, dict[str, str], str]:
        """What a browser brings back from the provider, its cookies, and the front end's verifier."""
        self.provider.person = {"sub": "ann-at-acme", "email": "ann@acme.example", "email_verified": True, **person}
        verifier = new_secret()
        begun = await self.sign_in.begin(str(self.tenant.slug), self.known.id, RETURN, challenge_of(verifier))
        brought = self.provider.authorize(begun.url)
        answer = ProviderAnswer(brought["code"], brought["state"], None, None)
        return answer, {begun.cookie_name: begun.cookie}, verifier

    async def tokens(self, **person: Any) -> TokenPair:
        """What a whole sign-in yields."""
        answer, cookies, verifier = await self.there_and_back(**person)
        told = query_of((await self.sign_in.receive(self.known.id, answer, cookies)).url)
        return await self.sign_in.exchange(told["code"], verifier)

    async def enter(self, **person: Any) -> dict[str, Any]:
        """The claims of a whole sign-in's access token."""
        return claims_of(await self.tokens(**person))


def fields_for(provider: SigningProvider, **changes: Any) -> dict[str, Any]:
    given = {"name": "Acme", "issuer": provider.issuer, "client_id": CLIENT, **changes}
    return NewIdentityProvider.model_validate(given).fields()


@asynccontextmanager
async def open_company(world: World, redis_url: str) -> AsyncIterator[Company]:
    """It runs until the block ends."""
    tenant = await world.tenant("acme", is_open=False)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(serving_provider(world.clock))
        egress = await stack.enter_async_context(open_egress(HERE))
        redis = await stack.enter_async_context(open_redis(redis_url, client_name="test-federation", timeout=SLOWLY))
        secrets = SealedSecrets(SECRET)
        providers = IdentityProviders(world.uow, world.sessions, secrets, HERE, world.clock)
        sign_in = FederatedSignIn(
            world.uow,
            world.tenants,
            world.sessions,
            OpenIdClient(egress, HERE, secrets, world.clock),
            PendingSignIns(redis, SECRET),
            Admission(world.sessions, world.revisions, world.clock),
            world.clock,
            PLACES,
        )
        async with world.uow(tenant.id) as tx:
            owner = await tx.users.register(tenant.id, Newcomer(email=Email("boss@acme.example")), world.clock.now())
        assert owner is not None
        made = Company(world, tenant, owner, provider, providers, sign_in, redis, known=None)  # type: ignore[arg-type] - below
        made.known = await providers.create(made.admin, fields_for(provider), CLIENT_SECRET)
        yield made
