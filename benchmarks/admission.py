"""What it costs the gateway to know who sends a request: microseconds for a token and for an API key.

    python benchmarks/admission.py

In one process, without a network: a token and a key seen before, and both seen for the first time (auth's answer to the
key not counted). What is looked up of revisions is counted.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from statistics import median

from docuchat_common.contracts.api_keys import KeyToken
from docuchat_common.contracts.revisions import Revision, RevisionPage
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import TokenVerifier
from docuchat_gateway.edge.api_keys import ApiKeyCredential, ApiKeyIdentities
from docuchat_gateway.edge.limits import RequestLimits
from docuchat_gateway.edge.standing import Admission, Standing
from docuchat_testkit.identity import AUDIENCE, ISSUER, TokenMint

KNOWN, NEW, REVISIONS = 20_000, 500, 10_000


class NoGoodKeys:
    async def knows(self, _: bytes) -> bool:
        return False

    async def note(self, _: bytes) -> None: ...


async def microseconds(act: Callable[[int], Awaitable[object]], times: int) -> float:
    """The median of five rounds, for one."""
    rounds = []
    for number in range(5):
        began = time.perf_counter()
        for place in range(times):
            await act(number * times + place)
        rounds.append((time.perf_counter() - began) / times * 1e6)
    return median(rounds)


async def main() -> None:
    mint = TokenMint()

    async def published() -> dict[str, object]:
        return mint.jwks()

    async def revisions(_: str | None) -> RevisionPage:
        ended = [
            Revision(tenant_id=1, kind="session", subject=str(uuid.uuid4()), state="ended") for _ in range(REVISIONS)
        ]
        return RevisionPage(items=ended, after="1")

    standing = Standing(revisions, timedelta(minutes=10))
    await standing.follow()
    admission = Admission(TokenVerifier(published, issuer=ISSUER, audience=AUDIENCE), standing)

    async def exchange(key: str, _: str) -> KeyToken:
        return KeyToken(access_token=tokens[key], expires_in=300)

    keys = [mint.make_key("chats.use") for _ in range(5 * NEW)]
    tokens = {key: mint.token(**mint.api_keys[key]) for key in keys}
    users = [mint.token() for _ in range(5 * NEW)]
    no_limit = RequestLimits(None, per_user=0, per_address=0)  # type: ignore[arg-type]  # it is never asked
    identities = ApiKeyIdentities(exchange, admission, no_limit, NoGoodKeys())

    class Container:
        api_keys = identities

    class App:
        class state:  # noqa: N801 - as Starlette has it
            container = Container

    async def nothing(*_: object) -> None: ...

    credential = ApiKeyCredential(nothing)

    async def middleware(headers: list[tuple[bytes, bytes]]) -> None:
        await credential(
            {"type": "http", "path": "/v1/chats", "app": App, "headers": headers, "client": ("192.0.2.1", 1)},
            nothing,  # type: ignore[arg-type]
            nothing,  # type: ignore[arg-type]
        )

    async def by_key(_: int) -> Identity:
        return await identities.identify(keys[0], "192.0.2.1")

    key_header = [(b"host", b"x"), (b"accept", b"*/*"), (b"x-api-key", keys[0].encode())]
    token_header = [(b"host", b"x"), (b"accept", b"*/*"), (b"authorization", b"Bearer " + users[0].encode())]
    rows = {
        "token, seen for the first time": await microseconds(lambda place: admission.verify(users[place]), NEW),
        "key, seen for the first time": await microseconds(lambda place: identities.identify(keys[place], "::1"), NEW),
        "token, seen before": await microseconds(lambda _: admission.verify(users[0]), KNOWN),
        "key, seen before": await microseconds(by_key, KNOWN),
        "the middleware, for a request with a token": await microseconds(lambda _: middleware(token_header), KNOWN),
        "the middleware, for a request with a key": await microseconds(lambda _: middleware(key_header), KNOWN),
    }
    for what, cost in rows.items():
        print(f"{what:<45} {cost:8.1f} µs")


if __name__ == "__main__":
    asyncio.run(main())
