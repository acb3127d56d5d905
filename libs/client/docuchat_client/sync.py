"""The synchronous clients: the asynchronous ones, run on a loop in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from docuchat_client.aio import DEFAULT_SERVER, AsyncDocuChat
from docuchat_client.blocking.accounts import BlockingAccounts
from docuchat_client.blocking.asking import BlockingAsking
from docuchat_client.blocking.chatbots import BlockingChatbots
from docuchat_client.blocking.chats import BlockingChats
from docuchat_client.blocking.compatible import BlockingCompatible
from docuchat_client.blocking.documents import BlockingDocuments
from docuchat_client.blocking.exports import BlockingExports
from docuchat_client.blocking.following import BlockingFollowing
from docuchat_client.blocking.model_providers import BlockingModelProviders
from docuchat_client.blocking.operators import BlockingOperatorClient as _BlockingOperatorClient
from docuchat_client.blocking.people import BlockingPeople
from docuchat_client.blocking.runtime import BlockingAnswerStream, LoopThread
from docuchat_client.blocking.sharing import BlockingSharing
from docuchat_client.blocking.tenancy import BlockingTenancy
from docuchat_client.blocking.uploading import BlockingUploading
from docuchat_client.compatible import MISSING
from docuchat_client.credentials import CredentialStore
from docuchat_client.models import CodeSent, Tokens
from docuchat_client.operators import OperatorClient, OperatorKey

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = ["BlockingAnswerStream", "BlockingOperatorClient", "DocuChat"]


class DocuChat(
    BlockingAccounts,
    BlockingAsking,
    BlockingChatbots,
    BlockingChats,
    BlockingCompatible,
    BlockingDocuments,
    BlockingExports,
    BlockingFollowing,
    BlockingModelProviders,
    BlockingPeople,
    BlockingSharing,
    BlockingTenancy,
    BlockingUploading,
):
    """`AsyncDocuChat` for synchronous code: the same arguments, the same methods, the same errors."""

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
        self._loop = LoopThread()

        async def build() -> AsyncDocuChat:
            return AsyncDocuChat(
                base_url,
                api_key=api_key,
                access_token=access_token,
                refresh_token=refresh_token,
                tenant=tenant,
                credentials=credentials,
                timeout=timeout,
                retries=retries,
                longest_wait=longest_wait,
                on_wait=on_wait,
                origin=origin,
            )

        self._client = self._loop.run(build())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and end the thread."""
        self._loop.run(self._client.aclose())
        self._loop.close()

    @property
    def base_url(self) -> str:
        """The service's address."""
        return self._client.base_url

    def openai(self) -> OpenAI:
        """The official `openai` client, with this service, sign-in and tenant; close it before this one.

        Tokens are renewed for it. Raises ImportError where the extra `openai` is not installed.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ImportError(MISSING) from error
        options = self._client._openai_options()  # noqa: SLF001 - the other half of this class
        return OpenAI(**options, api_key=self.token)

    def login(self, email: str, ask_code: Callable[[CodeSent], str]) -> Tokens:
        """Request a code, have it asked for, and sign in."""
        return self.verify_code(email, ask_code(self.request_code(email)))


class BlockingOperatorClient(_BlockingOperatorClient):
    """`OperatorClient` for synchronous code: `with BlockingOperatorClient(key) as operator: operator.status()`."""

    def __init__(
        self,
        key: OperatorKey,
        *,
        timeout: float = 30.0,
        longest_wait: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._loop = LoopThread()
        self._client = OperatorClient(key, timeout=timeout, longest_wait=longest_wait, on_wait=on_wait)

    def __enter__(self) -> Self:
        try:
            self._loop.run(self._client.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.run(self._client.__aexit__(*error))
        self._loop.close()
