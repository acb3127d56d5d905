"""Register passkeys, and sign in with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from docuchat_auth.passkeys.ceremonies import NotAccepted, RelyingParty, bytes_of, challenge_in, handle_of
from docuchat_auth.passkeys.challenges import Challenges
from docuchat_auth.passkeys.domain import MOST_PASSKEYS, Asserted, Passkey
from docuchat_auth.passkeys.errors import (
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyRefused,
    PasskeyTaken,
    TooManyPasskeys,
)
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.sessions.domain import SignInMethod, TokenPair
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import ANY_TENANT
from docuchat_auth.users.domain import User
from docuchat_auth.users.service import find_own, hold_own
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.ids import TenantId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_sign_ins = Counter("docuchat_auth_passkey_sign_ins", "Tries to sign in with a passkey.", ["outcome"])

Credential = dict[str, Any]
"""What a browser answers (`PublicKeyCredential.toJSON`)."""


class Passkeys:
    """What users do with their passkeys. Each change needs a sign-in of the last minutes."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        party: RelyingParty,
        challenges: Challenges,
        sessions: Sessions,
        second_factors: SecondFactors,
        clock: Clock,
    ) -> None:
        self._uow = uow
        self._party = party
        self._challenges = challenges
        self._sessions = sessions
        self._second_factors = second_factors
        self._clock = clock

    async def list_own(self, caller: Caller) -> list[Passkey]:
        """The caller's passkeys. Raises UserGone."""
        async with self._uow(caller.tenant_id) as tx:
            return await tx.passkeys.list_of(await find_own(tx, caller))

    async def begin(self, caller: Caller) -> dict[str, Any]:
        """What the browser needs to make one. Raises RecentSignInRequired, UserGone."""
        require_recent(caller, self._clock.now())
        async with self._uow(caller.tenant_id) as tx:
            user = await find_own(tx, caller)
            known = [passkey.attested.credential_id for passkey in await tx.passkeys.list_of(user)]
        return self._party.creation_options(user, known, self._challenges.new("registration", _subject(caller)))

    async def add(self, caller: Caller, name: str, credential: Credential) -> Passkey:
        """Register what the browser has made. All other sessions end.

        Raises PasskeyRefused, PasskeyTaken, TooManyPasskeys, RecentSignInRequired, UserGone.
        """
        moment = self._clock.now()
        session_id = require_recent(caller, moment)
        try:
            challenge = challenge_in(credential["response"]["clientDataJSON"])
            if not self._challenges.is_live(challenge, "registration", _subject(caller)):
                raise PasskeyRefused
            attested = self._party.verify_creation(credential, challenge)
        except NotAccepted as error:
            logger.info("passkey.refused", tenant_id=caller.tenant_id, reason=str(error))
            raise PasskeyRefused from error
        if not await self._challenges.spend(challenge):
            raise PasskeyRefused
        async with self._uow(caller.tenant_id) as tx:
            user = await hold_own(tx, caller)
            if await tx.passkeys.count(user) >= MOST_PASSKEYS:
                raise TooManyPasskeys
            passkey = Passkey(user.tenant_id, uuid7(), user.id, name, attested, moment)
            if not await tx.passkeys.add(passkey):
                raise PasskeyTaken
            await self._sessions.note_factor(tx, user, session_id)
            tx.outbox.add(entry(caller, "passkey.create", passkey.id))
        logger.info("passkey.added", tenant_id=user.tenant_id, user_id=str(user.id))
        return passkey

    async def remove(self, caller: Caller, passkey_id: UUID) -> None:
        """Forget one and end all other sessions. Raises PasskeyNotFound, RecentSignInRequired, UserGone."""
        require_recent(caller, self._clock.now())
        async with self._uow(caller.tenant_id) as tx:
            user = await hold_own(tx, caller)
            if not await tx.passkeys.delete(user, passkey_id):
                raise PasskeyNotFound
            await self._second_factors.settle_loss(tx, user)
            await self._sessions.end_all(tx, user, keep=caller.session_id)
            tx.outbox.add(entry(caller, "passkey.remove", passkey_id))

    def begin_sign_in(self) -> dict[str, Any]:
        """What any browser needs to find a passkey of its own."""
        return self._party.request_options(self._challenges.new("sign-in"))

    async def sign_in(self, tenant_id: TenantId, credential: Credential) -> TokenPair:
        """A session of whose passkey it is: two factors in one. Raises InvalidPasskey, whatever was wrong."""
        try:
            pair = await self._sign_in(tenant_id, credential)
        except (InvalidPasskey, NotAccepted) as error:
            _sign_ins.labels("refused").inc()
            raise InvalidPasskey from error
        _sign_ins.labels("accepted").inc()
        return pair

    async def _sign_in(self, tenant_id: TenantId, credential: Credential) -> TokenPair:
        challenge = challenge_in(credential["response"]["clientDataJSON"])
        if not self._challenges.is_live(challenge, "sign-in"):
            raise InvalidPasskey
        credential_id = bytes_of(credential["rawId"])
        async with self._uow.system() as tx:
            home = await tx.passkeys.find_home(credential_id)
        if home is None or tenant_id not in (ANY_TENANT, home):
            raise InvalidPasskey
        async with self._uow(home) as tx:
            passkey = await tx.passkeys.find(home, credential_id)
        if passkey is None:
            raise InvalidPasskey
        shown = self._party.verify_request(credential, challenge, passkey.attested.public_key)
        if not await self._challenges.spend(challenge):
            raise InvalidPasskey
        moment = self._clock.now()
        async with self._uow(home) as tx:
            tenant = await tx.tenants.find_by_id(home)
            user = await self._find_holder(tx, passkey, shown, credential)
            await tx.users.record_login(home, user.id, moment)
            session = await self._sessions.start(tx, user, SignInMethod.PASSKEY)
        if tenant is None:
            raise InvalidPasskey
        logger.info("user.signed_in", tenant_id=home, user_id=str(user.id), by="passkey")
        return await self._sessions.pair(session, tenant)

    async def _find_holder(self, tx: Tx, passkey: Passkey, shown: Asserted, credential: Credential) -> User:
        """Whose passkey it is, once its use is noted."""
        if not await tx.passkeys.use(passkey, shown, self._clock.now()):
            logger.warning("passkey.copied", tenant_id=passkey.tenant_id, passkey_id=str(passkey.id))
            raise InvalidPasskey
        user = await tx.users.find_by_id(passkey.tenant_id, passkey.user_id)
        handle = credential["response"].get("userHandle")
        if user is None or not user.is_active or handle is None or bytes_of(handle) != handle_of(user):
            raise InvalidPasskey
        return user


def _subject(caller: Caller) -> str:
    """To whom a challenge for a new passkey is bound."""
    return f"{caller.subject}:{caller.session_id}"
