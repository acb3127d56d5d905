"""A path that means another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alias:
    """What a foreign client asks for, and what of ours that is. Bodies are the same, or ours takes both."""

    path: str
    methods: tuple[str, ...]
    target: str
