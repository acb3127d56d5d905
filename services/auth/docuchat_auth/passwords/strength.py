"""How hard a password is to guess, by zxcvbn (Wheeler, USENIX Security 2016): common ones, names, dates, patterns."""

import re
from collections.abc import Iterable
from typing import Any, Final

from zxcvbn import zxcvbn

from docuchat_auth.passwords.errors import PasswordTooWeak

_READ: Final = 24
"""Characters that are judged at once. With signs for letters it takes 0.1 s at 24 of them, and seconds at 72."""
_ENOUGH: Final = 2
"""More than a million guesses. Guesses at a sign-in are a hundred an hour at most; the hash slows down all others."""
_ENOUGH_AT_THE_END: Final = 3
"""A hundred million: where a part is cut from the whole, something common may look like less so."""
_ALWAYS_TRIED: Final = ("docuchat",)
_REPEATED: Final = re.compile(r"(.+?)\1+")


def require_strength(password: str, about: Iterable[str | None]) -> None:
    """Raise PasswordTooWeak for what is guessed soon by somebody who knows all that is `about` the person.

    A password is as hard to guess as its hardest part at least. So the beginning is judged, and of a long one that
    begins badly the end; each as it is, and without its repetitions.
    """
    words = {word for text in about if text for word in (text, *re.split(r"[\W_]+", text)) if word}

    def judge(part: str) -> dict[str, Any]:
        return zxcvbn(part, user_inputs=[*words, *_ALWAYS_TRIED])  # type: ignore[no-any-return]

    forms = {password, _REPEATED.sub(r"\1", password)}
    result = min((judge(form[:_READ]) for form in forms), key=lambda found: int(found["score"]))
    if result["score"] >= _ENOUGH:
        return
    if len(password) > _READ and all(judge(form[-_READ:])["score"] >= _ENOUGH_AT_THE_END for form in forms):
        return
    advice = " ".join((result["feedback"]["warning"], *result["feedback"]["suggestions"])).strip()
    raise PasswordTooWeak(f"The password is too easy to guess. {advice}".strip())
