"""What a provider says that a call cost, held against our own count."""

from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["input_tokens", "output_tokens"]
Reason = Literal["malformed", "too_low", "too_high"]

_FARTHEST: Final = 2**53
"""No figure of a provider beyond this is looked at as a number."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A provider's figure that was not believed."""

    direction: Direction
    reported: str
    counted: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Used:
    """What a call cost; `estimated` when that is not the provider's own figure."""

    input_tokens: int
    output_tokens: int = 0
    estimated: bool = False
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenBounds:
    """How far a provider's figure may lie from our own count, whose tokenizer may not be the provider's."""

    lowest_share: float = 0.25
    highest_share: float = 4.0
    slack: int = 64
    """Tokens that are allowed above and below besides: what a provider wraps a text in."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """The tokens to book in one direction."""

    tokens: int
    estimated: bool = False
    anomaly: Anomaly | None = None


def bounded(
    reported: object, counted: int, bounds: TokenBounds, direction: Direction, *, allowed: int | None = None
) -> Bounded:
    """The provider's figure when it can be believed, else our own count.

    `reported` is whatever stood in the answer; None when nothing did, which is no anomaly. `allowed` is the most that
    the request let the provider make: up to there a figure is believed, since a model may bill what it does not show.
    """
    if reported is None:
        return Bounded(counted, estimated=True)
    reason: Reason
    lowest = max(min(counted, 1), counted * bounds.lowest_share - bounds.slack)
    highest = counted * bounds.highest_share + bounds.slack if allowed is None else max(allowed, counted)
    if not isinstance(reported, int) or isinstance(reported, bool) or reported < 0:
        reason = "malformed"
    elif reported < lowest:
        reason = "too_low"
    elif reported > highest:
        reason = "too_high"
    else:
        return Bounded(reported)
    shown = str(reported) if isinstance(reported, int | float) and abs(reported) < _FARTHEST else "not a token count"
    return Bounded(counted, estimated=True, anomaly=Anomaly(direction, shown, counted, reason))


def used_of(input_tokens: Bounded, output_tokens: Bounded | None = None) -> Used:
    """Both directions of one call together."""
    both = [input_tokens, *([output_tokens] if output_tokens is not None else [])]
    return Used(
        input_tokens=input_tokens.tokens,
        output_tokens=output_tokens.tokens if output_tokens is not None else 0,
        estimated=any(part.estimated for part in both),
        anomalies=tuple(part.anomaly for part in both if part.anomaly is not None),
    )
