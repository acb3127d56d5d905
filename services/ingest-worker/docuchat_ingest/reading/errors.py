"""Why a document could not be read; imports nothing, because the parser's child process shares it."""


class Unreadable(Exception):
    """The document itself cannot be turned into text, for a reason with a stable code; trying again would end the same
    way.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ParserStarved(Exception):
    """The machine gave the parser no processor time: no fault of the document."""
