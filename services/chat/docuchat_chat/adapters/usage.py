"""The usage service: holds on quotas."""

from __future__ import annotations

from datetime import timedelta

import structlog

from docuchat_chat.answers.domain import Hold
from docuchat_chat.answers.ports import Priced
from docuchat_chat.answers.terms import NO_TERMS, Terms
from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit, Subject, SubjectType
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.holds import HoldsClient
from docuchat_common.ids import HoldId

logger = structlog.get_logger()


class UsageHolds:
    """Holds for the calls of providers."""

    def __init__(
        self, client: HoldsClient, kind: HoldKind, lease: timedelta, *, counts: HoldUnit | None = None
    ) -> None:
        """`counts`: of what each hold is one, beside its tokens: a message or a request that somebody may send."""
        self._client = client
        self._kind = kind
        self._lease = lease
        self._counts = counts

    async def open(
        self, caller: Caller, priced: Priced, input_tokens: int, output_tokens: int, terms: Terms = NO_TERMS
    ) -> Hold:
        """Keep tokens back, and one of what is counted; without tokens that alone."""
        is_free = self._counts is not None and not input_tokens and not output_tokens
        amounts = [] if is_free else [Amount(unit=HoldUnit.INPUT_TOKENS, amount=input_tokens)]
        if output_tokens:
            amounts.append(Amount(unit=HoldUnit.OUTPUT_TOKENS, amount=output_tokens))
        if self._counts is not None:
            amounts.append(Amount(unit=self._counts, amount=1))
        request = HoldRequest(
            tenant_id=caller.tenant_id,
            subjects=_subjects(caller, terms),
            kind=self._kind,
            provider=None if is_free else priced.provider,
            model=None if is_free else priced.model,
            amounts=tuple(amounts),
            limits=terms.limits,
            lease=self._lease,
        )
        view = await self._client.open(request)
        return Hold(HoldId(view.hold_id), max(view.tokens - output_tokens, 0))

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Renew the lease, and shrink the hold when `tokens` is given."""
        try:
            await self._client.renew(hold_id, self._lease, tokens)
        except DocuChatError as error:
            logger.warning("hold.not_renewed", hold_id=str(hold_id), reason=error.code)

    async def release(self, hold_id: HoldId) -> None:
        """Release an unused hold."""
        try:
            await self._client.release(hold_id)
        except DocuChatError as error:
            logger.warning("hold.not_released", hold_id=str(hold_id), reason=error.code)

    async def settle(self, hold_id: HoldId) -> None:
        """Count the message and give its tokens back."""
        try:
            await self._client.settle(hold_id)
        except DocuChatError as error:
            logger.warning("hold.not_settled", hold_id=str(hold_id), reason=error.code)


def _subjects(caller: Caller, terms: Terms) -> tuple[Subject, ...]:
    own = [Subject(type=SubjectType(kind), id=str(subject)) for kind, subject in caller.subjects]
    return tuple({subject.type: subject for subject in (*own, *terms.subjects)}.values())
