"""Redis and mail behind auth's ports."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from importlib.resources import files

import aiosmtplib
import redis.asyncio
import structlog
from limits import parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.exceptions import RedisError

from docuchat_auth.domain import Account, CodeRequest, MailServer, Redemption
from docuchat_auth.errors import MailBacklog, MailRefused, StoreUnavailable, TooManyAttempts
from docuchat_auth.ports import AttemptLimit, CodeDigester, Pseudonyms
from docuchat_common.errors import DocuChatError

logger = structlog.get_logger()

_REDIS_TROUBLE = (RedisError, OSError, TimeoutError)
_RETRY_SOON = timedelta(seconds=2)
_PERMANENT = 500  # SMTP replies from here on will not change by trying again


class RedisCodeStore:
    """One hash an account: the digest of its live code and the guesses left. A Lua script takes a guess in one step."""

    def __init__(self, client: "redis.asyncio.Redis", digests: CodeDigester, pseudonyms: Pseudonyms) -> None:
        self._client = client
        self._digests = digests
        self._pseudonyms = pseudonyms
        self._redeem = client.register_script(files("docuchat_auth").joinpath("redeem.lua").read_text())

    async def put(self, account: Account, code: str, *, lifetime: timedelta, guesses: int) -> None:
        """Replaces the account's live code. Raises StoreUnavailable."""
        key = self._key(account)
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping={"digest": self._digests.digest(account, code), "guesses_left": guesses})
                pipe.pexpire(key, lifetime)
                await pipe.execute()
        except _REDIS_TROUBLE as error:
            raise StoreUnavailable(retry_after=_RETRY_SOON) from error

    async def redeem(self, account: Account, code: str) -> Redemption:
        """Takes one guess. Raises StoreUnavailable."""
        try:
            outcome = await self._redeem(keys=[self._key(account)], args=[self._digests.digest(account, code)])
        except _REDIS_TROUBLE as error:
            raise StoreUnavailable(retry_after=_RETRY_SOON) from error
        return Redemption(outcome.decode() if isinstance(outcome, bytes) else outcome)

    def _key(self, account: Account) -> str:
        return f"auth:code:{self._pseudonyms.of_account(account)}"


class WindowLimiter:
    """Exact moving windows by the `limits` library, on whatever storage it is given."""

    def __init__(self, storage: Storage) -> None:
        self._strategy = MovingWindowRateLimiter(storage)

    async def hit(self, limit: AttemptLimit, subject: str) -> None:
        """Counts one attempt. Raises TooManyAttempts, StoreUnavailable."""
        try:
            for window in parse_many(limit.rate):
                if not await self._strategy.hit(window, limit.name, subject):
                    stats = await self._strategy.get_window_stats(window, limit.name, subject)
                    wait = timedelta(seconds=max(1.0, stats.reset_time - time.time()))
                    logger.warning("auth.limited", limit=limit.name)
                    raise TooManyAttempts(retry_after=wait)
        except (StorageError, *_REDIS_TROUBLE) as error:
            raise StoreUnavailable(retry_after=_RETRY_SOON) from error


class BackgroundQueue:
    """A bounded queue of codes and the tasks that deliver them, so that no answer waits for a mail server.

    What is still queued when the process dies is lost: its owner asks for another code.
    """

    def __init__(self, size: int) -> None:
        self._waiting: asyncio.Queue[CodeRequest] = asyncio.Queue(size)

    def offer(self, request: CodeRequest) -> None:
        """Raises MailBacklog when too many are waiting."""
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull as error:
            raise MailBacklog(retry_after=timedelta(seconds=10)) from error

    @asynccontextmanager
    async def running(
        self, deliver: Callable[[CodeRequest], Awaitable[None]], *, workers: int, drain: timedelta
    ) -> AsyncIterator[None]:
        """Delivers while the block runs; at its end what is queued gets `drain` to go out."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._work(deliver)) for _ in range(workers)]
            try:
                yield
            finally:
                try:
                    await asyncio.wait_for(self._waiting.join(), drain.total_seconds())
                except TimeoutError:
                    logger.warning("auth.codes_dropped", waiting=self._waiting.qsize())
                for task in tasks:
                    task.cancel()

    async def _work(self, deliver: Callable[[CodeRequest], Awaitable[None]]) -> None:
        while True:
            request = await self._waiting.get()
            try:
                await deliver(request)
            except DocuChatError as error:
                logger.warning("auth.code_undelivered", tenant_id=request.account.tenant_id, error=error.code)
            except Exception as error:  # noqa: BLE001 - one bad delivery must not stop the others
                # no traceback: what is being handled is a secret
                logger.error("auth.code_undelivered", tenant_id=request.account.tenant_id, error=type(error).__name__)
            finally:
                self._waiting.task_done()


class SmtpMailer:
    """Hands text mails with codes to a mail server, trying again where that can help."""

    def __init__(
        self,
        server: MailServer,
        sender: str,
        *,
        timeout: timedelta = timedelta(seconds=10),
        pauses: tuple[timedelta, ...] = (timedelta(seconds=1), timedelta(seconds=4)),
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        """`pauses` are the times between tries."""
        self._server = server
        self._sender = sender
        self._timeout = timeout
        self._pauses = pauses
        self._tls_context = tls_context

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
        message = code_message(request, tenant_name, lifetime, self._sender)
        for pause in (*self._pauses, None):
            try:
                await self._hand_in(message)
            except aiosmtplib.SMTPResponseException as error:
                if pause is None or error.code >= _PERMANENT:
                    raise MailRefused from error
            except (aiosmtplib.SMTPException, OSError) as error:
                if pause is None:
                    raise MailRefused from error
            else:
                logger.info("auth.code_mailed", tenant_id=request.account.tenant_id)
                return
            logger.warning("auth.mail_retry", tenant_id=request.account.tenant_id, pause=pause.total_seconds())
            await asyncio.sleep(pause.total_seconds())

    async def _hand_in(self, message: EmailMessage) -> None:
        security = self._server.security
        start_tls = {"tls": False, "none": False, "starttls": True, "opportunistic": None}[security]
        await aiosmtplib.send(
            message,
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=security == "tls",
            start_tls=start_tls,
            tls_context=self._tls_context,
            timeout=self._timeout.total_seconds(),
        )


class LogMailer:
    """Writes codes to the log instead of sending them. The one exception to "no secret in a log"; local only."""

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """One line that a person or a script can read, whatever the log's format is."""
        # in the message, not in fields: JSON, plain and coloured logs then read the same
        line = f"auth.code_issued code={request.code} email={request.account.email}"
        logger.info(line)


def code_message(request: CodeRequest, tenant_name: str, lifetime: timedelta, sender: str) -> EmailMessage:
    """The mail. The code is not in its subject, which shows on locked screens."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = request.account.email
    message["Subject"] = "Your sign-in code"
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or None)
    message["Auto-Submitted"] = "auto-generated"
    minutes = int(lifetime.total_seconds() // 60)
    message.set_content(
        f"Your code to sign in to {' '.join(tenant_name.split())} on DocuChat is\n\n"
        f"    {request.code}\n\n"
        f"It can be used once, within {minutes} minutes.\n"
        "If you did not ask for it, ignore this mail; nobody can sign in without the code.\n"
    )
    return message
