"""Written by scripts/write_blocking.py from following.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.chat_models import Ticket, UserEvent


class BlockingFollowing(Blocking):
    """The part of a client that is told what happens."""

    _client: AsyncDocuChat

    def events(self, *, since: str | None = None) -> Iterator[UserEvent]:
        """What happens to the own documents and answers, for ever; behind the event `since`, else from now on.

        A stream that ends or drops is opened again behind the last event, without a gap or a repetition; where the
        service lost some, `reset` says that what is shown must be loaded anew.
        """
        return self._loop.iterate(self._client.events(since=since))

    def events_ticket(self) -> Ticket:
        """What opens the stream once in a browser, whose EventSource sends no header."""
        return self._loop.run(self._client.events_ticket())
