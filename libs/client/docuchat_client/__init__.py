"""DocuChat for Python programs: `AsyncDocuChat`, `DocuChat` and the `docuchat` command line."""

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.credentials import Credentials, CredentialStore, FileCredentials, MemoryCredentials
from docuchat_client.errors import (
    Conflict,
    ConnectionFailed,
    DemoLimitReached,
    DocuChatError,
    Forbidden,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RateLimited,
    ServerError,
    ServiceUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
    UnsupportedMedia,
)
from docuchat_client.operators import OperatorClient, OperatorKey
from docuchat_client.sync import BlockingAnswerStream, BlockingOperatorClient, DocuChat

__all__ = [
    "AnswerStream",
    "AsyncDocuChat",
    "BlockingAnswerStream",
    "BlockingOperatorClient",
    "Conflict",
    "ConnectionFailed",
    "CredentialStore",
    "Credentials",
    "DemoLimitReached",
    "DocuChat",
    "DocuChatError",
    "FileCredentials",
    "Forbidden",
    "InvalidInput",
    "MemoryCredentials",
    "NotFound",
    "OperatorClient",
    "OperatorKey",
    "PayloadTooLarge",
    "QuotaExceeded",
    "RateLimited",
    "ServerError",
    "ServiceUnavailable",
    "Unauthenticated",
    "UnexpectedAnswer",
    "UnsupportedMedia",
]
