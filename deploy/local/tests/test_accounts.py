import os
from pathlib import Path

from docuchat_local.accounts import can_reach, own_folder, server_folder
from docuchat_local.processes import Account

STRANGER = Account("stranger", 60_001, 60_001)


def test_a_folder_below_a_private_one_cannot_be_reached_by_another_account(tmp_path):
    tmp_path.chmod(0o700)
    assert not can_reach(tmp_path / "data", STRANGER)
    assert can_reach(tmp_path / "data", Account("me", os.geteuid(), os.getegid()))


def test_folders_that_everybody_may_enter_can_be_reached():
    assert can_reach(Path("/usr/bin/env"), STRANGER)


def test_without_another_account_the_folder_is_used_as_it_is(tmp_path):
    assert server_folder(tmp_path / "servers", None) == tmp_path / "servers"
    assert own_folder(tmp_path / "redis", None).stat().st_mode & 0o777 == 0o700
