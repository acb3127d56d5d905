"""The `Idempotency-Key` header, and an answer that is given again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from docuchat_common.acts import excuse_act
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Idempotency, RequestTx, Settle, StoredResponse, fingerprint_of, without_key

T = TypeVar("T")

REPLAYED_HEADER: Final = "Idempotent-Replayed"

_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: with the same key and body it takes effect once, and a "
        "repetition gets the first one's answer. 1 to 255 visible ASCII characters, a UUID for example.",
    ),
]


async def _key(request: Request, key: _Key = None) -> str | None:
    """The header as it was sent: several are one that is not valid, instead of any of them."""
    return None if key is None else ", ".join(request.headers.getlist("Idempotency-Key"))


IdempotencyKey = Annotated[str | None, Depends(_key)]


def replayed(stored: StoredResponse) -> Response:
    """The answer as it was, byte for byte, marked as a repetition."""
    excuse_act()
    return Response(
        stored.body,
        status_code=stored.status,
        media_type=stored.media_type,
        headers={**stored.headers, REPLAYED_HEADER: "true"},
    )


def created(view: BaseModel, status: int = 201) -> StoredResponse:
    """The answer that has `view` as its body."""
    return StoredResponse(status, view.model_dump_json().encode())


class Seal(Protocol):
    """Keeps an answer that holds a secret so that it is told again to who shows the Idempotency-Key, and to nobody."""

    def close(self, answer: StoredResponse, key: str) -> StoredResponse:
        """The answer as it is stored."""

    def open(self, stored: StoredResponse, key: str) -> StoredResponse:
        """The answer as it was sent. Raises IdempotencyKeyReused when it cannot be read any more."""


@dataclass(frozen=True, slots=True)
class Creating:
    """A creating request: with a key it takes effect once."""

    idempotency: Idempotency
    path: str
    key: str | None

    async def once(
        self,
        caller: Caller,
        body: BaseModel | None,
        effect: Callable[[Settle[T]], Awaitable[T]],
        present: Callable[[T], StoredResponse],
        *,
        about: Callable[[T], UUID] | None = None,
        seal: Seal | None = None,
    ) -> Response:
        """The answer to `effect`, which settles in its own transaction; a repetition gets it again.

        `about` is the object whose deletion takes the kept answer with it (`IdempotentRequests.forget_about`). A hash
        of `body` is kept, so it must hold no secret that could be guessed. An answer that holds one is kept by `seal`.
        """
        key = self.key
        if key is None:
            return _fresh(present(await effect(without_key)))
        fingerprint = fingerprint_of(self.path, "" if body is None else body.model_dump_json())
        async with self.idempotency.claim(caller, key, fingerprint) as claim:
            if not claim.is_first:
                kept = claim.replay(fingerprint)
                return replayed(kept if seal is None else seal.open(kept, key))

            async def settle(tx: RequestTx, outcome: T) -> None:
                reference = None if about is None else about(outcome)
                answer = present(outcome) if seal is None else seal.close(present(outcome), key)
                await tx.requests.settle(claim, fingerprint, answer, reference)

            return _fresh(present(await effect(settle)))


def _fresh(answer: StoredResponse) -> Response:
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


async def _creating(request: Request, key: IdempotencyKey = None) -> Creating:
    return Creating(request.app.state.container.idempotency, request.url.path, key)


CurrentCreation = Annotated[Creating, Depends(_creating)]
