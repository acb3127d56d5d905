import pytest

from docuchat_local.terminal import LogFollower, Terminal


@pytest.mark.parametrize(
    ("purpose", "said"),
    [("sign-in", "sign-in code"), ("verify", "code that proves an address"), ("reset", "code for a new password")],
)
def test_the_terminal_says_what_a_code_is_for(tmp_path, capsys, purpose, said):
    log = tmp_path / "auth.log"
    log.touch()
    follower = LogFollower(Terminal())
    follower.follow("auth", log)
    log.write_text(f"auth.code_issued code=123456 email=a@example.com for={purpose}\n")
    follower.close()
    assert f"==> {said}: 123456" in capsys.readouterr().out
