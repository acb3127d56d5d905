"""What names a chatbot, and which pages may show it."""

from uuid import uuid4

import pytest

from docuchat_common.contracts.chatbots import is_of, parse_chatbot_id, parse_origin, publishable_id


def test_a_chatbot_is_named_by_either_of_its_ids() -> None:
    chatbot = uuid4()
    assert publishable_id(chatbot) == f"pub_{chatbot.hex}"
    assert parse_chatbot_id(publishable_id(chatbot)) == parse_chatbot_id(str(chatbot)) == chatbot
    for text in ("", "pub_", f"pub_{chatbot.hex}0", f"PUB_{chatbot.hex}", "x" * 36):
        assert parse_chatbot_id(text) is None


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example.com", "https://shop.example.com"),
        (" HTTPS://Shop.Example.com:443/ ", "https://shop.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://shop.example.com:80", "http://shop.example.com"),
        ("https://shop.example.com:80", "https://shop.example.com:80"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://*.example.com:8443", "https://*.example.com:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "shop.example.com",
        "https://",
        "https://*",
        "https://*.com",
        "https://shop.*.example.com",
        "https://*shop.example.com",
        "https://shop.example.com/page",
        "https://shop.example.com?a=1",
        "https://me@shop.example.com",
        "https://shop.example.com:port",
        "ftp://shop.example.com",
        "https://shop example.com",
        "https://shop.example.com, https://other.example.com",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be the origin of a page"):
        parse_origin(text)


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://shop.example.com", True),
        ("https://a.example.org", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("http://a.example.org", False),
        ("https://a.example.org:8443", False),
        ("https://evilexample.org", False),
        ("https://shop.example.com.evil.example", False),
        ("https://*.example.org", False),
        ("https://evil.example/.example.org", False),
        ("https://evil.example#.example.org", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_the_list_are_admitted_and_no_others(origin: str, is_allowed: bool) -> None:
    assert is_of(origin, ("https://shop.example.com", "https://*.example.org")) is is_allowed
    assert is_of(origin, ()) is False
