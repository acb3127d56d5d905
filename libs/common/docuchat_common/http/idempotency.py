"""The `Idempotency-Key` header, and an answer that is given again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

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
    return Response(
        stored.body,
        status_code=stored.status,
        media_type=stored.media_type,
        headers={**stored.headers, REPLAYED_HEADER: "true"},
    )


def created(view: BaseModel, status: int = 201) -> StoredResponse:
    """The answer that has `view` as its body."""
    return StoredResponse(status, view.model_dump_json().encode())


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
    ) -> Response:
        """The answer to `effect`, which settles in its own transaction; a repetition gets it again.

        `about` is the object whose deletion takes the kept answer with it (`IdempotentRequests.forget_about`). A hash
        of `body` is kept, so it must hold no secret that could be guessed.
        """
        if self.key is None:
            return _fresh(present(await effect(without_key)))
        fingerprint = fingerprint_of(self.path, "" if body is None else body.model_dump_json())
        async with self.idempotency.claim(caller, self.key, fingerprint) as claim:
            if not claim.is_first:
                return replayed(claim.replay(fingerprint))

            async def settle(tx: RequestTx, outcome: T) -> None:
                reference = None if about is None else about(outcome)
                await tx.requests.settle(claim, fingerprint, present(outcome), reference)

            return _fresh(present(await effect(settle)))


def _fresh(answer: StoredResponse) -> Response:
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


async def _creating(request: Request, key: IdempotencyKey = None) -> Creating:
    return Creating(request.app.state.container.idempotency, request.url.path, key)


CurrentCreation = Annotated[Creating, Depends(_creating)]
