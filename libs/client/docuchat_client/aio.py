"""The asynchronous client."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Self

from docuchat_client.accounts import Accounts
from docuchat_client.asking import Asking
from docuchat_client.chatbots import Chatbots
from docuchat_client.chats import Chats
from docuchat_client.compatible import Compatible
from docuchat_client.credentials import Credentials, CredentialStore, MemoryCredentials
from docuchat_client.documents import Documents
from docuchat_client.exports import Exports
from docuchat_client.following import Following
from docuchat_client.model_providers import ModelProviders
from docuchat_client.people import People
from docuchat_client.sharing import Sharing
from docuchat_client.tenancy import Tenancy
from docuchat_client.transport import Transport
from docuchat_client.uploading import Uploading

DEFAULT_SERVER = "http://localhost:8000"


class AsyncDocuChat(
    Accounts,
    Asking,
    Chatbots,
    Chats,
    Compatible,
    Documents,
    Exports,
    Following,
    ModelProviders,
    People,
    Sharing,
    Tenancy,
    Uploading,
):
    """A signed-in (or not yet signed-in) client of one service.

    Tokens come from `credentials`, or from `access_token` and `refresh_token`; they are renewed when they run out. A
    program that signs in as nobody has an `api_key` instead, which may be a chatbot's secret key. A visitor's token
    of a chatbot is an `access_token` that is good with the `origin` of its page only.
    Requests that change nothing twice are repeated up to `retries` times when the service was away or asked to wait
    not longer than `longest_wait` seconds, which `on_wait` is told. So is whatever the limit of requests refused.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        access_token: str | None = None,
        refresh_token: str | None = None,
        tenant: str | int | None = None,
        credentials: CredentialStore | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        longest_wait: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
        origin: str | None = None,
    ) -> None:
        own_tenant = str(tenant) if tenant is not None else None
        if credentials is None:
            given = None
            if (token := api_key or access_token) is not None:
                renewal = None if api_key else refresh_token
                given = Credentials(server=base_url, tenant=own_tenant, access_token=token, refresh_token=renewal)
            credentials = MemoryCredentials(given)
        self._challenges: dict[str, str | None] = {}
        self._transport = Transport(
            base_url,
            credentials,
            tenant=own_tenant,
            timeout=timeout,
            retries=retries,
            longest_wait=longest_wait,
            on_wait=on_wait,
            origin=origin,
            user_agent=f"docuchat-client/{version('docuchat-client')}",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
