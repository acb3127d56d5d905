"""Bodies are read strictly: a name is a line, a number a number, a flag a flag."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from docuchat_common.http.json_body import AS_NUMBER, Flag, Name, StrictBody, Whole
from docuchat_common.text import one_line


class Body(StrictBody):
    name: Name = "x"
    count: Annotated[Whole, Field(ge=0)] = 0
    price: Annotated[Decimal, Field(ge=0, max_digits=8, allow_inf_nan=False), AS_NUMBER] = Decimal()
    is_open: Flag = False


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a\0b"},
        {"name": "a\nb"},
        {"name": "\x1b[31mred"},
        {"name": "\u202eemca"},
        {"name": "\u2066x\u2069"},
        {"name": "  "},
        {"name": ""},
        {"name": "n" * 201},
        {"count": True},
        {"count": "1"},
        {"count": "٣"},
        {"price": True},
        {"price": "٣"},
        {"price": "NaN"},
        {"price": "1_000"},
        {"price": -1},
        {"is_open": 1},
        {"is_open": "yes"},
        {"nmae": "x"},
    ],
)
def test_what_only_looks_like_it_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Body.model_validate(wrong)
    assert refused.value.errors()[0]["loc"] == tuple(wrong)


def test_what_is_meant_is_taken() -> None:
    body = Body.model_validate({"name": "شرکت می\u200cخواهم", "count": 3, "price": "0.5", "is_open": True})
    assert (body.name, body.count, body.price, body.is_open) == ("شرکت می\u200cخواهم", 3, Decimal("0.5"), True)
    assert Body.model_validate({"price": 0.25}).price == Decimal("0.25")


def test_a_line_is_made_of_what_is_shown_to_others() -> None:
    assert one_line(" fdp\u202e.exe\0\n\x1b[31m می\u200cخواهم ") == "fdp .exe [31m می\u200cخواهم"
