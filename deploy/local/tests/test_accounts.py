import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docuchat_local.accounts import (
    can_reach,
    claim_folder,
    own_folder,
    reachable_programs,
    remove_stand_in,
    server_folder,
    sweep,
)
from docuchat_local.errors import SetupFailed
from docuchat_local.processes import Account

STRANGER = Account("stranger", 60_001, 60_001)


def test_a_folder_below_a_private_one_cannot_be_reached_by_another_account(tmp_path):
    tmp_path.chmod(0o700)
    assert not can_reach(tmp_path / "data", STRANGER)
    assert can_reach(tmp_path / "data", Account("me", os.geteuid(), os.getegid()))


def test_folders_that_everybody_may_enter_can_be_reached():
    assert can_reach(Path("/usr/bin/env"), STRANGER)


def test_programs_below_a_private_folder_are_copied_with_their_libraries(tmp_path):
    tmp_path.chmod(0o700)
    programs, libraries = tmp_path / "server" / "install", tmp_path / "server.libs"
    for folder in (programs / "bin", libraries):
        folder.mkdir(parents=True)
        (folder / "postgres").write_text("program")
    copy = reachable_programs(programs, libraries, STRANGER)
    assert can_reach(copy / "bin" / "postgres", STRANGER)
    assert (copy.parents[1] / "server.libs" / "postgres").read_text() == "program"
    assert reachable_programs(programs, libraries, STRANGER) == copy
    shutil.rmtree(tmp_path)
    server_folder_elsewhere = tmp_path.with_name(f"{tmp_path.name}-other")
    server_folder_elsewhere.mkdir(mode=0o700)
    stand_in = claim_folder(server_folder_elsewhere / "servers", "one", STRANGER)
    assert not copy.exists()  # the next start sweeps up those whose folder is no more
    remove_stand_in(server_folder_elsewhere / "servers")
    assert not stand_in.exists()


def test_data_whose_folder_is_no_more_go_a_day_after_their_last_use_and_never_while_they_are_used(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "checkout").mkdir()
    data = claim_folder(tmp_path / "checkout" / "servers", str(tmp_path), STRANGER)
    (tmp_path / "checkout").rename(tmp_path / "moved")
    sweep()
    assert data.exists()
    long_ago = time.time() - 25 * 3600
    os.utime(data / "data-id", (long_ago, long_ago))
    server = subprocess.Popen([sys.executable, "-c", "input()"], cwd=data, stdin=subprocess.PIPE)
    sweep()
    assert data.exists()
    server.communicate(b"\n")
    sweep()
    assert not data.exists()


def test_what_stands_in_for_a_folder_goes_with_what_it_is_in(tmp_path):
    tmp_path.chmod(0o700)
    places = {}
    for name in ("session", "other"):
        (tmp_path / name).mkdir()
        places[name] = claim_folder(tmp_path / name / "servers", name, STRANGER)
    sweep(below=tmp_path / "session")
    assert [place.exists() for place in places.values()] == [False, True]


def test_data_made_with_other_secrets_are_not_taken_over(tmp_path):
    folder = claim_folder(tmp_path / "servers", "one", None)
    assert claim_folder(tmp_path / "servers", "one", None) == folder
    with pytest.raises(SetupFailed, match="make clean"):
        claim_folder(tmp_path / "servers", "two", None)


def test_a_stand_in_that_outlived_its_folder_is_emptied(tmp_path):
    tmp_path.chmod(0o700)
    old = claim_folder(tmp_path / "servers", "one", STRANGER)
    (old / "kept").touch()
    assert (claim_folder(tmp_path / "servers", "one", STRANGER) / "kept").exists()
    assert not (claim_folder(tmp_path / "servers", "two", STRANGER) / "kept").exists()
    remove_stand_in(tmp_path / "servers")


def test_data_go_with_a_folder_that_was_moved_into_a_stand_in_and_out_of_it(tmp_path):
    tmp_path.chmod(0o700)
    data_id = str(tmp_path)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (claim_folder(folder / "servers", data_id, STRANGER) / "kept").touch()
    for name, account in (("renamed", STRANGER), ("reachable", None), ("hidden", STRANGER)):
        folder = folder.rename(tmp_path / name)
        place = claim_folder(folder / "servers", data_id, account)
        assert (place / "kept").exists(), name
        assert (place == folder / "servers") is (account is None)
    remove_stand_in(folder / "servers")


def test_without_another_account_the_folder_is_used_as_it_is(tmp_path):
    assert server_folder(tmp_path / "servers", None) == tmp_path / "servers"
    assert own_folder(tmp_path / "redis", None).stat().st_mode & 0o777 == 0o700
