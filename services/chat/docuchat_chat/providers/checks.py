"""What is wrong with a provider, in plain words, by what it said when it was asked for its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from docuchat_chat.providers.domain import Provider
from docuchat_models.providers import Listing

CheckCode = Literal[
    "ok",
    "unreachable",
    "late",
    "key_refused",
    "not_found",
    "rate_limited",
    "failing",
    "refused",
    "unreadable",
    "unknown_models",
]
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500
_SHOWN: Final = 5
_BY_STATUS: Final[Mapping[int, CheckCode]] = {
    401: "key_refused",
    403: "key_refused",
    404: "not_found",
    _TOO_MANY: "rate_limited",
}
_TEXTS: Final[Mapping[CheckCode, str]] = {
    "key_refused": "The provider refuses the key (status {status}); send another `api_key`.",
    "not_found": "There is no list of models at {base_url}/models (status {status}). Look at `base_url`, which mostly "
    "ends in /v1; a provider without such a list can be used all the same.",
    "rate_limited": "The provider takes no more requests now (status {status}); check again later.",
    "failing": "The provider fails (status {status}); its own status page may say why.",
    "refused": "The provider refuses to list its models (status {status}).",
    "unreadable": "What answers at {base_url}/models is no OpenAI-compatible list of models; look at `base_url`.",
    "late": "The provider was connected to, but did not answer in time; check again later.",
    # One answer for what is not there and for what is private: else it would tell of the network inside.
    "unreachable": "No server that may be called answers at `base_url`; look at its host and port.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """How a provider is."""

    code: CheckCode
    detail: str
    status: int | None = None
    """What it answered with over HTTP; None: it did not answer."""
    unknown_models: tuple[str, ...] = ()
    """Models of ours that it does not list."""

    @property
    def is_ok(self) -> bool:
        """Whether it can be asked."""
        return self.code == "ok"

    @property
    def is_alive(self) -> bool:
        """Whether it answers at all, so that a question may be tried: many serve no list of their models."""
        return self.status is not None and self.status < _SERVER_ERRORS and self.status != _TOO_MANY


def judge(provider: Provider, listing: Listing) -> Check:
    """Return what its answer says of a provider."""
    status = listing.status
    if status is not None and listing.models is not None:
        return _compare(provider, listing.models, status)
    code = _code(status, is_late=listing.is_late)
    return Check(code, _TEXTS[code].format(status=status, base_url=provider.base_url), status)


def _code(status: int | None, *, is_late: bool) -> CheckCode:
    if status is None:
        return "late" if is_late else "unreachable"
    if status >= _SERVER_ERRORS:
        return "failing"
    if status < 400:
        return "not_found" if status >= 300 else "unreadable"
    return _BY_STATUS.get(status, "refused")


def _compare(provider: Provider, models: frozenset[str], status: int) -> Check:
    unknown = tuple(model.name for model in provider.models if model.name not in models)
    if not unknown:
        return Check("ok", f"The provider answers and lists {len(models)} models.", status)
    return Check(
        "unknown_models",
        f"The provider answers, but does not list {', '.join(unknown[:_SHOWN])}; look at how it spells its models.",
        status,
        unknown,
    )
