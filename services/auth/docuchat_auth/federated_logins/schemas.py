"""Bodies of a sign-in by an identity provider."""

from pydantic import Field

from docuchat_common.http.json_body import StrictBody


class CodeExchange(StrictBody):
    """What a front end shows for tokens."""

    code: str = Field(
        min_length=1, max_length=128, description="From the address that the browser came back to; good for a minute."
    )
    code_verifier: str = Field(
        pattern=r"^[A-Za-z0-9._~-]{43,128}$", description="Whose `code_challenge` the sign-in was begun with."
    )
