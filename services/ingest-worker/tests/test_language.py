import pytest

from docuchat_ingest.chunking.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat and was not amused by it.", "en"),
        ("Der Vertrag ist nicht mit den Kunden und auch nicht für das Haus.", "de"),
        ("Le chat est dans la maison et les enfants sont avec lui.", "fr"),
        ("El perro y los gatos que están en la casa con una niña.", "es"),
        ("این سند دربارهٔ کتاب‌های کتابخانه است و پول ندارد.", "fa"),
        ("هذا الكتاب في المكتبة الكبيرة على الطاولة.", "ar"),
        ("Это книга о том, как жить.", "ru"),
        ("这是一本书。", "zh"),
        ("これは本です。", "ja"),
        ("بکاند DocuChat یک سیستم FastAPI است که از OpenAI برای embedding استفاده میکند", "fa"),
        ("3.14 = 2 + 1.14", None),
        ("", None),
    ],
)
def test_language_is_told(text: str, language: str | None) -> None:
    assert detect_language(text) == language


def test_a_formula_in_a_german_book_stays_german() -> None:
    assert detect_language("f a i s o z X = R en", "de") == "de"
