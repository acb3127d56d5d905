"""Codes in Redis."""

from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from typing import Final

from redis.asyncio import Redis

from docuchat_auth.codes.domain import Account, GuessBudget, Purpose, Redemption, challenge_name
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_common.redis import NOTING, forget_keys, note_key, redis_errors_translated

_BROWSER_IS_KNOWN_FOR: Final = timedelta(days=90)
_Field = bytes | bytearray | memoryview | str | int | float  # as the library has it, invariantly


class CodeStore:
    """Live codes as keyed digests, one for each challenge; failures of the last hour; browsers that have signed in.

    A Lua script takes a guess in one step, so that parallel guesses cannot overrun. Raises UpstreamUnavailable.
    """

    def __init__(self, client: Redis, digests: CodeDigests, pseudonyms: KeyedPseudonyms, budget: GuessBudget) -> None:
        self._client = client
        self._digests = digests
        self._pseudonyms = pseudonyms
        self._budget = budget
        script = files("docuchat_auth.codes").joinpath("redeem.lua").read_text()
        self._redeem = client.register_script(NOTING + script)

    async def knows(self, account: Account, challenge: str | None) -> bool:
        """Whether the browser with this challenge has signed in to the account with it."""
        if challenge is None:
            return False
        with redis_errors_translated():
            return bool(await self._client.exists(f"{self._prefix(account)}:browser:{challenge_name(challenge)}"))

    async def put(self, account: Account, challenge: str, code: str, *, lifetime: timedelta, browser: str = "") -> None:
        """Keep a code for its challenge; it becomes the one that guesses without a challenge are about.

        `browser` is the name of the challenge that whoever asked signed in with before.
        """
        prefix, name = self._prefix(account), challenge_name(challenge)
        fields: dict[_Field, _Field] = {
            "digest": self._digests.digest(account, code),
            "guesses_left": self._budget.bound_guesses,
            "bare_guesses_left": self._budget.bare_guesses,
            "browser": browser,
        }
        with redis_errors_translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(f"{prefix}:{name}", mapping=fields)
                pipe.pexpire(f"{prefix}:{name}", lifetime)
                pipe.set(f"{prefix}:latest", name, px=lifetime)
                for key in (f"{prefix}:{name}", f"{prefix}:latest"):
                    note_key(pipe, f"{prefix}:keys", key, lifetime)
                await pipe.execute()

    async def browser_of(self, account: Account, challenge: str) -> str:
        """As `put` was told of the code of this challenge."""
        with redis_errors_translated():
            found = await self._client.hget(f"{self._prefix(account)}:{challenge_name(challenge)}", "browser")
        return found.decode() if isinstance(found, bytes) else found or ""

    async def redeem(
        self, account: Account, challenge: str | None, code: str, *, network: str
    ) -> tuple[Redemption, timedelta]:
        """Take one guess; with LIMITED comes the time to wait, with ACCEPTED what was left of the code's life.

        A browser that shows its challenge is known then.
        """
        arguments: list[str | int] = [
            "" if challenge is None else challenge_name(challenge),
            self._digests.digest(account, code),
            network,
            self._budget.known_failures,
            self._budget.bare_failures,
            self._budget.stranger_failures,
            self._budget.network_failures,
            _BROWSER_IS_KNOWN_FOR // timedelta(milliseconds=1),
        ]
        with redis_errors_translated():
            outcome, wait = await self._redeem(keys=[self._prefix(account)], args=arguments)
        return Redemption(outcome.decode()), timedelta(milliseconds=wait)

    async def forget(self, account: Account) -> int:
        """Forget live codes of whatever purpose, failures and known browsers of an account; how many keys."""
        every = (self._prefix(replace(account, purpose=purpose)) for purpose in Purpose)
        return await forget_keys(self._client, *(f"{prefix}:keys" for prefix in every))

    def _prefix(self, account: Account) -> str:
        return f"auth:code:{self._pseudonyms.of_account(account)}"
