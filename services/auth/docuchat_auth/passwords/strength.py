"""How hard a password is to guess, by zxcvbn (Wheeler, USENIX Security 2016): common ones, names, dates, patterns."""

import re
from collections.abc import Iterable
from typing import Final

from zxcvbn import zxcvbn

from docuchat_auth.passwords.errors import PasswordTooWeak

_READ: Final = 24
"""Characters that are judged. What is written with signs for letters takes 0.1 s at 24 of them, and seconds at 72."""
_ENOUGH: Final = 2
"""More than a million guesses. Guesses at a sign-in are a hundred an hour at most; the hash slows down all others."""
_ALWAYS_TRIED: Final = ("docuchat",)


def require_strength(password: str, about: Iterable[str | None]) -> None:
    """Raise PasswordTooWeak for what is guessed soon by somebody who knows all that is `about` the person."""
    words = {word for text in about if text for word in (text, *re.split(r"[\W_]+", text)) if word}
    result = zxcvbn(password[:_READ], user_inputs=[*words, *_ALWAYS_TRIED])
    if result["score"] < _ENOUGH:
        advice = " ".join((result["feedback"]["warning"], *result["feedback"]["suggestions"])).strip()
        raise PasswordTooWeak(f"The password is too easy to guess. {advice}".strip())
