"""HTTP with tokens: renews them, repeats what may be repeated, and raises problems as errors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from docuchat_client.credentials import Credentials, CredentialStore
from docuchat_client.errors import (
    ConnectionFailed,
    DocuChatError,
    Forbidden,
    RateLimited,
    ServiceUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
    error_from_response,
    not_docuchat,
)

_RENEW_BEFORE_SECONDS = 30.0
_PAUSES = (0.2, 0.5, 1.0, 2.0)


class Transport:
    """One connection pool and one sign-in."""

    def __init__(
        self,
        base_url: str,
        store: CredentialStore,
        *,
        tenant: str | None,
        timeout: float,
        retries: int,
        longest_wait: float,
        user_agent: str,
        on_wait: Callable[[float], None] | None = None,
        origin: str | None = None,
    ) -> None:
        """`on_wait(seconds)` is called before it is waited for as long as the service asked."""
        self.base_url = base_url.rstrip("/")
        self.store = store
        self.tenant = tenant
        self._origin = origin
        self._retries = retries
        self._longest_wait = longest_wait
        self._on_wait = on_wait
        self._http = httpx2.AsyncClient(
            base_url=self.base_url,
            timeout=httpx2.Timeout(timeout, connect=5.0, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            headers={"User-Agent": user_agent},
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        files: Callable[[], Mapping[str, Any]] | None = None,
        signed: bool = True,
        repeatable: bool | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> Any:
        """The decoded JSON answer (None when there is no body).

        `repeatable` requests are sent again when the service was away or asked to wait a little; by default those of
        methods that change nothing twice. `files` makes the parts of a form anew for each try.
        """
        if repeatable is None:
            repeatable = method in {"GET", "PUT", "DELETE"} or "Idempotency-Key" in (headers or {})
        renewed = False
        attempt = 0
        while True:
            try:
                sent_headers = await self.headers(headers, signed=signed)
                options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
                response = await self._http.request(
                    method,
                    path,
                    json=json,
                    params=_given(params),
                    headers=sent_headers,
                    data=data,
                    files=files() if files else None,
                    **options,
                )
                return self._decoded(response)
            except (Unauthenticated, Forbidden) as refusal:
                if not signed or renewed or refusal.status is None or not refusal.is_of_token:
                    raise
                if not await self.renew(sent_headers):
                    raise
                renewed = True
            except (httpx2.HTTPError, httpx2.InvalidURL, RateLimited, ServiceUnavailable) as error:
                failure = self._as_error(error)
                # what the limit of requests refused was not begun
                if attempt >= self._retries or not (repeatable or failure.code == RateLimited.default_code):
                    raise failure from error
                if not await self.wait_out(failure, attempt):
                    raise failure from error
                attempt += 1

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """A response whose body is read as it comes; a lost connection is ConnectionFailed, also while reading."""
        try:
            for turn in (1, 2):
                sent_headers = await self.headers(headers)
                options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
                async with self._http.stream(
                    method, path, json=json, params=_given(params), headers=sent_headers, **options
                ) as response:
                    if response.is_error:
                        await response.aread()
                        error = error_from_response(self.base_url, response)
                        if turn == 1 and error.is_of_token and await self.renew(sent_headers):
                            continue
                        raise error
                    yield response
                    return
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._as_error(error) from error

    async def headers(self, further: Mapping[str, str] | None = None, *, signed: bool = True) -> dict[str, str]:
        """The tenant's header and, for a signed request, a token that is good for a while."""
        headers = self.plain_headers() | dict(further or {})
        if signed:
            headers["Authorization"] = f"Bearer {await self.token()}"
        return headers

    def plain_headers(self) -> dict[str, str]:
        """What each request says of where it belongs."""
        named = {"X-Tenant-ID": self.tenant, "Origin": self._origin}
        return {name: value for name, value in named.items() if value is not None}

    async def token(self) -> str:
        """A token that is good for a while. Raises Unauthenticated."""
        credentials = self.store.load()
        if credentials is None:
            raise Unauthenticated("You are not signed in.", code="not_signed_in")
        left = credentials.seconds_left
        if left is not None and left < _RENEW_BEFORE_SECONDS and credentials.refresh_token:
            await self.renew({"Authorization": f"Bearer {credentials.access_token}"})
            credentials = self.store.load() or credentials
        return credentials.access_token

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Get tokens in place of those in the headers `refused`; False when signing in again is the only way."""
        async with self.store.exclusive():
            credentials = self.store.load()
            if credentials is None:
                return False
            if f"Bearer {credentials.access_token}" != refused.get("Authorization"):
                return True  # another task or process was faster
            if credentials.refresh_token is None:
                return False
            try:
                response = await self._http.post(
                    "/v1/auth/refresh",
                    json={"refresh_token": credentials.refresh_token},
                    headers=await self.headers(signed=False),
                )
            except httpx2.HTTPError as error:
                raise self._as_error(error) from error
            if response.status_code in {400, 401, 403, 422}:
                return False
            tokens = self._decoded(response)
            self.store.save(
                credentials.model_copy(
                    update={
                        "access_token": tokens["access_token"],
                        "refresh_token": tokens.get("refresh_token") or credentials.refresh_token,
                    }
                )
            )
            return True

    def sign_in(
        self,
        email: str | None,
        access_token: str,
        refresh_token: str | None,
        challenge: str | None = None,
        device: str | None = None,
    ) -> None:
        """Keep new tokens."""
        self.store.save(
            Credentials(
                server=self.base_url,
                tenant=self.tenant,
                email=email,
                access_token=access_token,
                refresh_token=refresh_token,
                challenge=challenge,
                device=device,
            )
        )

    def _decoded(self, response: httpx2.Response) -> Any:
        if response.is_error:
            raise error_from_response(self.base_url, response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise not_docuchat(self.base_url, response.status_code, response.headers) from error

    async def wait_out(self, failure: DocuChatError, attempt: int) -> bool:
        """Wait before the next try; False when the service asked for more patience than we have."""
        pause = failure.retry_after
        if pause is None:
            pause = backoff(attempt)
        elif pause > self._longest_wait:
            return False
        elif self._on_wait is not None:
            self._on_wait(pause)
        await asyncio.sleep(pause)
        return True

    def _as_error(self, error: Exception) -> DocuChatError:
        if isinstance(error, DocuChatError):
            return error
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            return ConnectionFailed(f"{self.base_url} cannot be reached.")
        if isinstance(error, httpx2.TimeoutException):
            return ConnectionFailed(f"{self.base_url} did not answer in time.", code="timeout")
        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return UnexpectedAnswer(
                f"{self.base_url!r} is not an address of a service; say for example http://localhost:8000.",
                code="invalid_address",
            )
        return ConnectionFailed(f"The connection to {self.base_url} was lost.")


def backoff(attempt: int) -> float:
    """Seconds before try `attempt + 2`, with some chance, so that many clients do not return at once."""
    pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
    return pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _given(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: value for name, value in params.items() if value is not None} if params else None
