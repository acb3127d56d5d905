import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docuchat_knowledge.folding import fold, fold_chunk, fold_query

PERSIAN = st.text(alphabet="ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیيكةأآئ ‌ـًَُِّ۱۲٣٤abc.,", max_size=60)


@given(st.one_of(PERSIAN, st.text(max_size=60)))
def test_folding_a_key_again_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


@given(PERSIAN)
def test_arabic_and_persian_letters_and_digits_fold_alike(text: str):
    arabic = text.translate(str.maketrans({"ی": "ي", "ک": "ك", **{chr(0x6F0 + n): chr(0x660 + n) for n in range(10)}}))
    assert fold(arabic) == fold(text)


@given(PERSIAN)
def test_vowel_signs_and_tatweel_do_not_count(text: str):
    decorated = "".join(letter + ("\u064e\u0640" if letter.isalpha() else "") for letter in text)
    bare = "".join(letter for letter in text if not unicodedata.combining(letter) and letter != "ـ")
    assert fold(decorated) == fold(bare)


@pytest.mark.parametrize(
    "variants",
    [
        ("می‌شود", "می شود", "میشود", "مي‌شود"),
        ("نمی‌خواهد", "نمی خواهد", "نميخواهد"),
        ("کتاب‌ها", "کتاب ها", "کتابها", "كتابها"),
        ("بزرگ‌ترین", "بزرگ ترین", "بزرگترین"),
        ("خانه‌ای", "خانه ای", "خانهای"),
        ("۱۴۰۳", "١٤٠٣", "1403"),
        ("قُرآن", "قرآن", "قران"),
        ("ﻣﺪﺭﺳﻪ", "مدرسه", "مدرسة"),
    ],
)
def test_spellings_of_one_word_share_a_key(variants: tuple[str, ...]):
    assert len({fold(variant) for variant in variants}) == 1


def test_a_word_before_a_full_stop_keeps_its_own_key():
    assert fold("سلام می. شود") != fold("سلام می شود")


def test_the_parts_of_a_joined_word_are_indexed_too():
    assert {"کتابخانه", "کتاب", "خانه"} <= set(fold_chunk("کتاب‌خانه", "fa").split())


def test_latin_accents_stay_and_case_goes():
    assert fold("Über Straße") == "über straße"


def test_arabic_is_spelt_for_its_stemmer_on_both_sides():
    assert fold_chunk("كتابي", "ar") == fold_query("کتابی", "ar") == "كتابي"


@pytest.mark.parametrize("question", ["می‌شود", "کتاب‌خانه", "نمی‌خواهم بدانم", "word‌word"])
def test_no_joiner_is_left_in_the_key_of_a_question(question: str):
    assert "\u200c" not in fold_query(question, "fa")
    assert fold_query(question, "fa") == fold_query(question.replace("\u200c", ""), "fa")
