"""The synchronous client: the asynchronous one, run on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

from docuchat_client.aio import DEFAULT_SERVER, AsyncDocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.compatible import MISSING
from docuchat_client.credentials import CredentialStore
from docuchat_client.models import AnswerEvent, Citation, CodeSent, Fallback, Source, Tokens, TurnUsage

if TYPE_CHECKING:
    from openai import OpenAI

P = ParamSpec("P")
T = TypeVar("T")


class _LoopThread:
    """An event loop that runs until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="docuchat-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C arrives here, not in the loop's thread
            raise

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T:
            return await anext(iterator)

        async def close() -> None:
            if aclose := getattr(iterator, "aclose", None):
                await aclose()

        try:
            while True:
                try:
                    item = self.run(following())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(close())

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class BlockingAnswerStream:
    """`AnswerStream` for synchronous code."""

    def __init__(self, loop: _LoopThread, stream: AnswerStream) -> None:
        self._loop = loop
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[AnswerEvent]:
        return self._loop.iterate(aiter(self._stream))

    def text(self) -> Iterator[str]:
        """The words of the answer as they come."""
        return self._loop.iterate(self._stream.text())

    def stop(self) -> None:
        """Ask the service to end the answer."""
        self._loop.run(self._stream.stop())

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._stream.aclose())

    @property
    def turn_id(self) -> UUID | None:
        """The turn, by which the answer can be resumed and stopped."""
        return self._stream.turn_id

    @property
    def chat_id(self) -> UUID | None:
        """The chat that question and answer are kept in."""
        return self._stream.chat_id

    @property
    def answer(self) -> str:
        """The text so far."""
        return self._stream.answer

    @property
    def sources(self) -> list[Source]:
        """What was found for the question."""
        return self._stream.sources

    @property
    def citations(self) -> list[Citation]:
        """What the answer rests on; known at its end."""
        return self._stream.citations

    @property
    def message_id(self) -> UUID | None:
        """The message that holds the answer."""
        return self._stream.message_id

    @property
    def chatbot_version(self) -> int | None:
        """The version of the chatbot that answers; 0 is the draft."""
        return self._stream.chatbot_version

    @property
    def own_knowledge(self) -> list[str]:
        """Sentences that the model knows from elsewhere; known at the end."""
        return self._stream.own_knowledge

    @property
    def model(self) -> str | None:
        """The model that is asked; at the end the one that answered."""
        return self._stream.model

    @property
    def fallback(self) -> Fallback | None:
        """Why another model answered than the one that was asked; known at the end."""
        return self._stream.fallback

    @property
    def usage(self) -> TurnUsage | None:
        """The tokens; known at the end."""
        return self._stream.usage

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; known at the end."""
        return self._stream.finish_reason


def _blocking(
    method: Callable[Concatenate[AsyncDocuChat, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DocuChat, P], T]:
    """The method for synchronous code: same parameters, same result, same description."""

    @wraps(method)
    def call(self: DocuChat, /, *arguments: P.args, **options: P.kwargs) -> T:
        return self._loop.run(method(self._client, *arguments, **options))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncDocuChat, P], AsyncIterator[T]],
) -> Callable[Concatenate[DocuChat, P], Iterator[T]]:
    """As `_blocking`, for what comes one by one."""

    @wraps(method)
    def call(self: DocuChat, /, *arguments: P.args, **options: P.kwargs) -> Iterator[T]:
        return self._loop.iterate(method(self._client, *arguments, **options))

    return call


def _answering(
    method: Callable[Concatenate[AsyncDocuChat, P], AnswerStream],
) -> Callable[Concatenate[DocuChat, P], BlockingAnswerStream]:
    """As `_blocking`, for answers as they are made."""

    @wraps(method)
    def call(self: DocuChat, /, *arguments: P.args, **options: P.kwargs) -> BlockingAnswerStream:
        return BlockingAnswerStream(self._loop, method(self._client, *arguments, **options))

    return call


class DocuChat:
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
        self._loop = _LoopThread()

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

    request_code = _blocking(AsyncDocuChat.request_code)
    verify_code = _blocking(AsyncDocuChat.verify_code)
    login_with_password = _blocking(AsyncDocuChat.login_with_password)
    register = _blocking(AsyncDocuChat.register)
    verify_email = _blocking(AsyncDocuChat.verify_email)
    request_verification = _blocking(AsyncDocuChat.request_verification)
    set_password = _blocking(AsyncDocuChat.set_password)
    forgot_password = _blocking(AsyncDocuChat.forgot_password)
    reset_password = _blocking(AsyncDocuChat.reset_password)
    accept_invitation = _blocking(AsyncDocuChat.accept_invitation)
    logout = _blocking(AsyncDocuChat.logout)
    me = _blocking(AsyncDocuChat.me)
    token = _blocking(AsyncDocuChat.token)
    change_me = _blocking(AsyncDocuChat.change_me)
    own_identities = _blocking(AsyncDocuChat.own_identities)
    cut_own_identity = _blocking(AsyncDocuChat.cut_own_identity)
    passkeys = _blocking(AsyncDocuChat.passkeys)
    remove_passkey = _blocking(AsyncDocuChat.remove_passkey)

    second_factor = _blocking(AsyncDocuChat.second_factor)
    begin_totp = _blocking(AsyncDocuChat.begin_totp)
    confirm_totp = _blocking(AsyncDocuChat.confirm_totp)
    renew_recovery_codes = _blocking(AsyncDocuChat.renew_recovery_codes)
    remove_totp = _blocking(AsyncDocuChat.remove_totp)

    sessions = _iterating(AsyncDocuChat.sessions)
    find_session = _blocking(AsyncDocuChat.find_session)
    end_session = _blocking(AsyncDocuChat.end_session)
    end_other_sessions = _blocking(AsyncDocuChat.end_other_sessions)
    api_keys = _iterating(AsyncDocuChat.api_keys)
    find_api_key = _blocking(AsyncDocuChat.find_api_key)
    create_api_key = _blocking(AsyncDocuChat.create_api_key)
    rotate_api_key = _blocking(AsyncDocuChat.rotate_api_key)
    revoke_api_key = _blocking(AsyncDocuChat.revoke_api_key)

    users = _iterating(AsyncDocuChat.users)
    find_user = _blocking(AsyncDocuChat.find_user)
    change_user = _blocking(AsyncDocuChat.change_user)
    remove_user = _blocking(AsyncDocuChat.remove_user)
    erase_user = _blocking(AsyncDocuChat.erase_user)
    erasure_receipt = _blocking(AsyncDocuChat.erasure_receipt)
    reset_second_factor = _blocking(AsyncDocuChat.reset_second_factor)
    invite = _blocking(AsyncDocuChat.invite)
    invitations = _iterating(AsyncDocuChat.invitations)
    find_invitation = _blocking(AsyncDocuChat.find_invitation)
    resend_invitation = _blocking(AsyncDocuChat.resend_invitation)
    revoke_invitation = _blocking(AsyncDocuChat.revoke_invitation)
    groups = _iterating(AsyncDocuChat.groups)
    find_group = _blocking(AsyncDocuChat.find_group)
    create_group = _blocking(AsyncDocuChat.create_group)
    rename_group = _blocking(AsyncDocuChat.rename_group)
    delete_group = _blocking(AsyncDocuChat.delete_group)
    group_members = _iterating(AsyncDocuChat.group_members)
    add_group_member = _blocking(AsyncDocuChat.add_group_member)
    remove_group_member = _blocking(AsyncDocuChat.remove_group_member)
    audit = _blocking(AsyncDocuChat.audit)
    audit_csv = _blocking(AsyncDocuChat.audit_csv)

    export_tenant = _blocking(AsyncDocuChat.export_tenant)
    export_user = _blocking(AsyncDocuChat.export_user)
    exports = _iterating(AsyncDocuChat.exports)
    export = _blocking(AsyncDocuChat.export)
    wait_for_export = _blocking(AsyncDocuChat.wait_for_export)
    download_export = _blocking(AsyncDocuChat.download_export)

    tenant_settings = _blocking(AsyncDocuChat.tenant_settings)
    change_tenant = _blocking(AsyncDocuChat.change_tenant)
    delete_tenant = _blocking(AsyncDocuChat.delete_tenant)
    restore_tenant = _blocking(AsyncDocuChat.restore_tenant)
    domains = _iterating(AsyncDocuChat.domains)
    find_domain = _blocking(AsyncDocuChat.find_domain)
    add_domain = _blocking(AsyncDocuChat.add_domain)
    verify_domain = _blocking(AsyncDocuChat.verify_domain)
    delete_domain = _blocking(AsyncDocuChat.delete_domain)
    identity_providers = _iterating(AsyncDocuChat.identity_providers)
    find_identity_provider = _blocking(AsyncDocuChat.find_identity_provider)
    add_identity_provider = _blocking(AsyncDocuChat.add_identity_provider)
    change_identity_provider = _blocking(AsyncDocuChat.change_identity_provider)
    remove_identity_provider = _blocking(AsyncDocuChat.remove_identity_provider)

    collections = _iterating(AsyncDocuChat.collections)
    collection = _blocking(AsyncDocuChat.collection)
    find_collection = _blocking(AsyncDocuChat.find_collection)
    create_collection = _blocking(AsyncDocuChat.create_collection)
    change_collection = _blocking(AsyncDocuChat.change_collection)
    delete_collection = _blocking(AsyncDocuChat.delete_collection)
    collection_members = _iterating(AsyncDocuChat.collection_members)
    put_collection_member = _blocking(AsyncDocuChat.put_collection_member)
    remove_collection_member = _blocking(AsyncDocuChat.remove_collection_member)

    upload = _blocking(AsyncDocuChat.upload)
    upload_to_chatbot = _blocking(AsyncDocuChat.upload_to_chatbot)
    attach = _blocking(AsyncDocuChat.attach)
    documents = _blocking(AsyncDocuChat.documents)
    all_documents = _iterating(AsyncDocuChat.all_documents)
    document = _blocking(AsyncDocuChat.document)
    watch = _iterating(AsyncDocuChat.watch)
    wait_until_settled = _blocking(AsyncDocuChat.wait_until_settled)
    download = _blocking(AsyncDocuChat.download)
    retry_document = _blocking(AsyncDocuChat.retry_document)
    delete_document = _blocking(AsyncDocuChat.delete_document)

    ask = _blocking(AsyncDocuChat.ask)
    stream = _answering(AsyncDocuChat.stream)
    begin = _blocking(AsyncDocuChat.begin)
    regenerate = _blocking(AsyncDocuChat.regenerate)
    stream_regenerated = _answering(AsyncDocuChat.stream_regenerated)
    edit_message = _blocking(AsyncDocuChat.edit_message)
    stream_edited = _answering(AsyncDocuChat.stream_edited)
    query_chatbot = _blocking(AsyncDocuChat.query_chatbot)
    stream_chatbot = _answering(AsyncDocuChat.stream_chatbot)
    query_public = _blocking(AsyncDocuChat.query_public)
    stream_public = _answering(AsyncDocuChat.stream_public)
    resume = _answering(AsyncDocuChat.resume)
    stop = _blocking(AsyncDocuChat.stop)

    create_chat = _blocking(AsyncDocuChat.create_chat)
    chats = _blocking(AsyncDocuChat.chats)
    chat = _blocking(AsyncDocuChat.chat)
    rename_chat = _blocking(AsyncDocuChat.rename_chat)
    pin_chat = _blocking(AsyncDocuChat.pin_chat)
    archive_chat = _blocking(AsyncDocuChat.archive_chat)
    show_branch = _blocking(AsyncDocuChat.show_branch)
    delete_chat = _blocking(AsyncDocuChat.delete_chat)
    export_chat = _blocking(AsyncDocuChat.export_chat)
    messages = _blocking(AsyncDocuChat.messages)
    add_message = _blocking(AsyncDocuChat.add_message)
    rate = _blocking(AsyncDocuChat.rate)
    withdraw_rating = _blocking(AsyncDocuChat.withdraw_rating)
    share_chat = _blocking(AsyncDocuChat.share_chat)
    shares = _iterating(AsyncDocuChat.shares)
    revoke_share = _blocking(AsyncDocuChat.revoke_share)
    shared_chat = _blocking(AsyncDocuChat.shared_chat)
    chat_sessions = _blocking(AsyncDocuChat.chat_sessions)
    open_chat_session = _blocking(AsyncDocuChat.open_chat_session)
    keep_chat_session = _blocking(AsyncDocuChat.keep_chat_session)
    end_chat_session = _blocking(AsyncDocuChat.end_chat_session)

    chatbots = _iterating(AsyncDocuChat.chatbots)
    chatbot = _blocking(AsyncDocuChat.chatbot)
    find_chatbot = _blocking(AsyncDocuChat.find_chatbot)
    create_chatbot = _blocking(AsyncDocuChat.create_chatbot)
    change_chatbot = _blocking(AsyncDocuChat.change_chatbot)
    delete_chatbot = _blocking(AsyncDocuChat.delete_chatbot)
    publish_chatbot = _blocking(AsyncDocuChat.publish_chatbot)
    unpublish_chatbot = _blocking(AsyncDocuChat.unpublish_chatbot)
    chatbot_versions = _iterating(AsyncDocuChat.chatbot_versions)
    chatbot_version = _blocking(AsyncDocuChat.chatbot_version)
    chatbot_changes = _blocking(AsyncDocuChat.chatbot_changes)
    restore_chatbot = _blocking(AsyncDocuChat.restore_chatbot)
    rotate_chatbot_key = _blocking(AsyncDocuChat.rotate_chatbot_key)
    chatbot_snippet = _blocking(AsyncDocuChat.chatbot_snippet)
    shown_chatbot = _blocking(AsyncDocuChat.shown_chatbot)
    visitor_token = _blocking(AsyncDocuChat.visitor_token)
    public_chat = _blocking(AsyncDocuChat.public_chat)
    chatbot_conversations = _iterating(AsyncDocuChat.chatbot_conversations)
    chatbot_conversation = _blocking(AsyncDocuChat.chatbot_conversation)
    chatbot_insights = _blocking(AsyncDocuChat.chatbot_insights)

    events = _iterating(AsyncDocuChat.events)
    events_ticket = _blocking(AsyncDocuChat.events_ticket)

    search = _blocking(AsyncDocuChat.search)
    usage = _blocking(AsyncDocuChat.usage)

    add_model_provider = _blocking(AsyncDocuChat.add_model_provider)
    change_model_provider = _blocking(AsyncDocuChat.change_model_provider)
    check_model_provider = _blocking(AsyncDocuChat.check_model_provider)
    cut_identity = _blocking(AsyncDocuChat.cut_identity)
    document_text = _blocking(AsyncDocuChat.document_text)
    embed = _blocking(AsyncDocuChat.embed)
    find_model_provider = _blocking(AsyncDocuChat.find_model_provider)
    group = _blocking(AsyncDocuChat.group)
    identities = _blocking(AsyncDocuChat.identities)
    identity_provider = _blocking(AsyncDocuChat.identity_provider)
    model = _blocking(AsyncDocuChat.model)
    model_provider = _blocking(AsyncDocuChat.model_provider)
    model_providers = _iterating(AsyncDocuChat.model_providers)
    models = _blocking(AsyncDocuChat.models)
    passage = _blocking(AsyncDocuChat.passage)
    remove_model_provider = _blocking(AsyncDocuChat.remove_model_provider)
