"""Why a document could not be read, as stable codes; imports nothing, because the parser's child process shares it."""


class Unreadable(Exception):
    """The document itself cannot be turned into text; trying again would end the same way."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
