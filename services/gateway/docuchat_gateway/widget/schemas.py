"""What is said of a chatbot's tag."""

from pydantic import BaseModel, Field


class SnippetView(BaseModel):
    """The tag that shows a chatbot on a page, and what it needs there."""

    html: str = Field(
        description="Paste it into the page; it is the same for all visitors, and nothing in it is secret."
    )
    publishable_id: str
    script_url: str
    integrity: str = Field(description="The browser runs the script only with this hash.")
    version: str = Field(description="Of the widget. This one is served for two years after the last upgrade.")
    origins: list[str] | None = Field(
        description="Of the pages that may show the chatbot. Only for who manages chatbots."
    )
    content_security_policy: str = Field(
        description="What a page with a Content-Security-Policy must allow; nothing else is needed."
    )
    notes: list[str] = Field(description="What is missing before the chatbot answers on a page; empty when nothing is.")
