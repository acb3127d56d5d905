"""Logins of other systems that follow the events: each reads what it may, into its own queues; none publishes."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from docuchat_common.events.catalogue import BY_TYPE
from docuchat_common.messaging.topology import EXCHANGE, SERVICES, USAGE_STREAM, streamed_types
from docuchat_setup.errors import SetupError
from docuchat_setup.logins import hashed_user, virtual_host_of

_NAME = re.compile(r"[a-z][a-z0-9-]{1,39}")
_NOTHING = "^$"
_SECRET_BYTES = 32


def new_subscriber(url: str, name: str, types: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """A login for the system `name` at the broker of `url`: its AMQP address, and the definitions that make it.

    It may declare and read queues `<name>.*`, bind them to the events exchange by one of `types` (by any key, when none
    is given), and read the usage stream when it may read all that the stream keeps. The password is stored nowhere.
    Raises SetupError.
    """
    if not _NAME.fullmatch(name) or name in SERVICES:
        raise SetupError(
            f"{name!r} cannot be a subscriber's name: 2 to 40 lower-case letters, digits and hyphens, a letter first, "
            f"and none of {', '.join(SERVICES)}"
        )
    if unknown := sorted(set(types) - set(BY_TYPE)):
        raise SetupError(f"there is no event {', '.join(unknown)}; there are {', '.join(sorted(BY_TYPE))}")
    login, password, host = f"subscriber_{name}", secrets.token_urlsafe(_SECRET_BYTES), virtual_host_of(url)
    readable = [EXCHANGE, *([USAGE_STREAM] if not types or set(streamed_types()) <= set(types) else [])]
    own = rf"^{re.escape(name)}\."
    who = {"user": login, "vhost": host}
    definitions = {
        "users": [hashed_user(login, password, [])],
        "permissions": [{**who, "configure": own, "write": own, "read": f"{own}|^({_any_of(readable)})$"}],
        "topic_permissions": [
            {**who, "exchange": EXCHANGE, "write": _NOTHING, "read": f"^({_any_of(types)})$" if types else ".*"}
        ],
    }
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}:{password}@{parts.netloc.rpartition('@')[2]}")), definitions


def _any_of(names: Sequence[str]) -> str:
    return "|".join(map(re.escape, names))
