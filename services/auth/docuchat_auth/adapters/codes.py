"""Codes in Redis."""

from datetime import timedelta
from importlib.resources import files

import redis.asyncio

from docuchat_auth.codes.domain import Account, Redemption
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_common.redis import redis_errors_translated


class RedisCodeStore:
    """One hash an account: the digest of its live code and the guesses left. A Lua script takes a guess in one step."""

    def __init__(self, client: "redis.asyncio.Redis", digests: CodeDigests, pseudonyms: KeyedPseudonyms) -> None:
        self._client = client
        self._digests = digests
        self._pseudonyms = pseudonyms
        self._redeem = client.register_script(files("docuchat_auth.codes").joinpath("redeem.lua").read_text())

    async def put(self, account: Account, code: str, *, lifetime: timedelta, guesses: int) -> None:
        """Replaces the account's live code. Raises UpstreamUnavailable."""
        key = self._key(account)
        with redis_errors_translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping={"digest": self._digests.digest(account, code), "guesses_left": guesses})
                pipe.pexpire(key, lifetime)
                await pipe.execute()

    async def redeem(self, account: Account, code: str) -> Redemption:
        """Takes one guess. Raises UpstreamUnavailable."""
        with redis_errors_translated():
            outcome = await self._redeem(keys=[self._key(account)], args=[self._digests.digest(account, code)])
        return Redemption(outcome.decode() if isinstance(outcome, bytes) else outcome)

    def _key(self, account: Account) -> str:
        return f"auth:code:{self._pseudonyms.of_account(account)}"
