"""Who may still come: what changed since tokens were signed, asked for twice a second and looked up in memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.contracts.permissions import Action
from docuchat_common.contracts.revisions import Revision, RevisionPage, RevisionState, signer_id
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import TokenVerifier
from docuchat_gateway.edge.errors import LinkClosed, SessionEnded, TenantDeleting, TenantSuspended, TokenOutdated

logger = structlog.get_logger()

READS: Final = frozenset({"GET", "HEAD"})
"""What stays in a tenant that is suspended or about to be deleted."""

_refused = Counter("docuchat_standing_refused", "Valid tokens that were refused for what changed since.", ["code"])
_ended = Counter("docuchat_standing_ended", "Sockets and streams that were ended for what changed.", ["code"])
_age = Gauge("docuchat_standing_age_seconds", "How old the last answer of auth is; more than a second: it is away.")

AskRevisions = Callable[[str | None], Awaitable[RevisionPage]]
"""Asks auth what became visible since its last answer; all of it, when given None. Raises UpstreamUnavailable."""


@dataclass(slots=True)
class _Known:
    versions: dict[UUID | None, int] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    tenants: dict[int, RevisionState] = field(default_factory=dict)
    """Those that are not active."""

    def learn(self, revision: Revision) -> None:
        if revision.kind == "tenant":
            self.tenants.pop(revision.tenant_id, None)
            if revision.state != "active":
                self.tenants[revision.tenant_id] = revision.state
        elif revision.state == "ended":
            self.ended.add(UUID(revision.subject))
        else:
            self.versions[UUID(revision.subject)] = revision.version


@dataclass(eq=False, slots=True)
class _Follower:
    identity: Identity
    method: str
    ended: asyncio.Future[DocuChatError]


class Standing:
    """What auth says of users, sessions, keys, chatbots and tenants. While it is silent, that stays in force."""

    POLL: Final = timedelta(milliseconds=500)
    RELOAD: Final = timedelta(hours=1)
    """All of it is asked for again, so that what auth has forgotten is forgotten here."""

    def __init__(
        self, ask: AskRevisions, patience: timedelta, *, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        """After `patience` of silence nobody of a tenant is admitted. `elapsed` are seconds that only grow."""
        self._ask = ask
        self._patience = patience.total_seconds()
        self._elapsed = elapsed
        self._known = _Known()
        self._after: str | None = None
        self._heard_at = self._loaded_at = float("-inf")
        self._heard = asyncio.Event()
        self._followers: set[_Follower] = set()
        _age.set_function(lambda: self.age)

    @property
    def age(self) -> float:
        """Seconds since auth was asked for what it answered last; endless before its first answer."""
        return self._elapsed() - self._heard_at

    async def follow(self) -> None:
        """Ask once, and end what must not go on. Raises UpstreamUnavailable."""
        began = self._elapsed()
        whole = self.age > self._patience or began - self._loaded_at > self.RELOAD.total_seconds()
        page = await self._ask(None if whole else self._after)
        known = _Known() if whole else self._known
        for revision in page.items:
            known.learn(revision)
        self._known, self._after, self._heard_at = known, page.after, began
        self._heard.set()
        if whole:
            self._loaded_at = began
        if page.items:
            self._end_followers()

    async def begin(self, patience: timedelta = timedelta(seconds=10)) -> None:
        """Wait for the first answer: a process that takes a running one's place refuses nobody for want of it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), patience.total_seconds())

    def require_heard(self) -> None:
        """Raise UpstreamUnavailable when auth has been silent for too long, or has said nothing yet."""
        if self.age > self._patience:
            raise UpstreamUnavailable(
                "The auth service does not say who may still come; try again shortly.", retry_after=timedelta(seconds=2)
            )

    def refusal(self, identity: Identity) -> DocuChatError | None:
        """Why the valid token of `identity` is refused."""
        known, caller = self._known, identity.caller
        if known.tenants.get(caller.tenant_id) == "deleted":
            return SessionEnded()
        if not known.ended.isdisjoint(_names_of(identity)):
            return SessionEnded()
        version = known.versions.get(_maker_of(caller), 0)
        return TokenOutdated() if caller.version < version else None

    def suspension(self, caller: Caller, method: str, action: Action | None = None) -> DocuChatError | None:
        """Why `caller` may not send a request of `method`. Of a tenant that is being deleted its owner may say more."""
        state = self._known.tenants.get(caller.tenant_id)
        if state is None or method in READS:
            return None
        if state == "suspended":
            return TenantSuspended()
        return None if action == "tenant.own" else TenantDeleting()

    def closure(self, tenant_id: int) -> DocuChatError | None:
        """Why nothing of a tenant is told to who is not signed in."""
        return LinkClosed() if tenant_id in self._known.tenants else None

    @contextmanager
    def following(self, identity: Identity, method: str) -> Iterator[asyncio.Future[DocuChatError]]:
        """What the block waits for to know that it must end, and why: it is done when `identity` may go on no more."""
        follower = _Follower(identity, method, asyncio.get_running_loop().create_future())
        self._followers.add(follower)
        self._judge(follower)  # something may have been taken back since its token was verified
        try:
            yield follower.ended
        finally:
            self._followers.discard(follower)
            follower.ended.cancel()

    def _end_followers(self) -> None:
        for follower in self._followers:
            self._judge(follower)

    def _judge(self, follower: _Follower) -> None:
        caller = follower.identity.caller
        why = self.refusal(follower.identity) or self.suspension(caller, follower.method)
        if why is not None and not follower.ended.done():
            _ended.labels(why.code).inc()
            logger.info("standing.ended", tenant_id=caller.tenant_id, subject=caller.subject, code=why.code)
            follower.ended.set_result(why)


def _names_of(identity: Identity) -> set[UUID | None]:
    """By what a token may have ended: its session or secret, whom it speaks for, its chatbot, and who signed it."""
    caller = identity.caller
    return {caller.session_id, caller.subject_id, caller.owner_id, caller.chatbot_id, signer_id(identity.kid)}


def _maker_of(caller: Caller) -> UUID | None:
    """Of whose state a token says the version: a user's, or for a visitor the chatbot's; a chatbot's key has none."""
    if caller.subject_type == "chatbot":
        return None
    return caller.chatbot_id or caller.owner_id or caller.subject_id


class Admission:
    """Verifies tokens as every service does, and refuses those that auth has taken back since it signed them."""

    def __init__(self, verifier: TokenVerifier, standing: Standing) -> None:
        self._verifier = verifier
        self.standing = standing

    async def verify(self, token: str) -> Identity:
        """As `TokenVerifier.verify`. Raises TokenOutdated and SessionEnded besides."""
        return self._of_standing(await self._verifier.verify(token))

    async def verify_operator(self, token: str) -> Identity:
        """As `TokenVerifier.verify_operator`. Raises SessionEnded besides."""
        return self._of_standing(await self._verifier.verify_operator(token))

    async def identify(self, token: str) -> Identity:
        """As `TokenVerifier.identify`. Raises what `verify` and `verify_operator` do besides."""
        return self._of_standing(await self._verifier.identify(token))

    def recheck(self, identity: Identity, action: Action, method: str) -> None:
        """Raise when who came in with `identity` may go on no more: for after any wait for the client."""
        self._require_standing(identity)
        self._require_service(identity, action, method)

    def permit(self, identity: Identity, action: Action, method: str) -> None:
        """As `TokenVerifier.permit`. Raises TenantSuspended and TenantDeleting besides."""
        self._verifier.permit(identity, action, method)
        self._require_service(identity, action, method)

    def _of_standing(self, identity: Identity) -> Identity:
        if identity.caller.subject_type == "operator":
            self._require_not_taken_back(identity)  # also while auth is silent: operators mend that
        else:
            self._require_standing(identity)
        return identity

    def _require_standing(self, identity: Identity) -> None:
        self.standing.require_heard()
        self._require_not_taken_back(identity)

    def _require_not_taken_back(self, identity: Identity) -> None:
        if (refusal := self.standing.refusal(identity)) is not None:
            _refused.labels(refusal.code).inc()
            raise refusal

    def _require_service(self, identity: Identity, action: Action, method: str) -> None:
        if (refusal := self.standing.suspension(identity.caller, method, action)) is not None:
            _refused.labels(refusal.code).inc()
            raise refusal

    async def check(self) -> None:
        """Raise UpstreamUnavailable while tokens cannot be judged (readiness)."""
        await self._verifier.check()
        self.standing.require_heard()
