import hashlib

import pytest

from docuchat_local import vocabulary
from docuchat_local.environment import ROOT
from docuchat_local.errors import SetupFailed
from docuchat_local.vocabulary import VOCABULARIES, prepare_vocabulary

LOCK = ROOT / "deploy" / "local" / "vocabulary.lock"


def test_a_given_cache_folder_is_used(tmp_path):
    prepared = prepare_vocabulary(ROOT / ".local" / "tiktoken", LOCK, {})
    assert prepare_vocabulary(tmp_path / "unused", LOCK, {"TIKTOKEN_CACHE_DIR": str(prepared)}) == prepared
    assert not (tmp_path / "unused").exists()


def test_a_damaged_file_does_not_count(tmp_path):
    known = VOCABULARIES[0]
    (tmp_path / known.cache_name).write_bytes(b"damaged")
    assert not known.is_in(tmp_path)


def test_the_names_and_hashes_are_those_of_tiktoken():
    # tiktoken itself would refuse a file with another hash, and not find one of another name
    prepared = prepare_vocabulary(ROOT / ".local" / "tiktoken", LOCK, {})
    for known in VOCABULARIES:
        assert hashlib.sha256((prepared / known.cache_name).read_bytes()).hexdigest() == known.sha256


def test_when_nothing_can_be_fetched_the_message_says_what_to_put_where(tmp_path):
    lock = tmp_path / "vocabulary.lock"
    lock.write_text("llama-index-core==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    # the stand-in addresses do not resolve, so neither source answers
    unreachable = tuple(
        vocabulary.Vocabulary(known.name, f"https://vocabulary.invalid/{known.name}", known.sha256)
        for known in VOCABULARIES
    )
    with pytest.raises(SetupFailed, match="TIKTOKEN_CACHE_DIR"):
        prepare_vocabulary(tmp_path / "tiktoken", lock, {}, unreachable)
