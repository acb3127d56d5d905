import subprocess
import sys
import textwrap
from pathlib import Path

from docuchat_local.packages import (
    ServerPrograms,
    find_programs,
    install_commands,
    missing_message,
    write_stand_ins,
)


def having(*programs: str):
    return lambda name: name if name in programs or Path(name).name in programs else None


def test_programs_that_are_there_are_used_without_the_wrapper_that_changes_the_user():
    found = find_programs(having("redis-server", "rabbitmq-server", "epmd"))
    assert isinstance(found, ServerPrograms)
    assert found.rabbitmq == Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def test_only_what_is_missing_is_asked_for():
    assert find_programs(having("redis-server")) == ["rabbitmq-server"]
    assert find_programs(having("rabbitmq-server", "epmd")) == ["redis-server"]
    assert find_programs(having()) == ["redis-server", "rabbitmq-server"]


def test_the_message_says_exactly_what_to_type():
    message = missing_message(["redis-server", "rabbitmq-server"], has_apt=True)
    assert "sudo apt-get install --no-install-recommends redis-server rabbitmq-server" in message
    assert "BACKING=external" in message
    assert "apt-get" not in missing_message(["redis-server"], has_apt=False)


def test_installing_upgrades_nothing_and_starts_nothing(tmp_path):
    _, install = install_commands(["redis-server"], tmp_path)
    assert install[-1] == "redis-server"
    assert {"--no-upgrade", "--no-install-recommends", "--yes"} <= set(install)
    assert f"DPkg::Path={tmp_path}:" in install[install.index("--option") + 1]


def test_of_processes_that_start_at_once_on_a_bare_machine_one_installs_and_all_have_the_programs(tmp_path):
    # apt that takes a moment, installs by writing the programs, and refuses a second one that comes meanwhile
    apt = tmp_path / "apt-get"
    apt.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        mkdir {tmp_path}/running || exit 100
        echo "$1" >> {tmp_path}/calls
        if [ "$1" = install ]; then
          sleep 0.2
          cd {tmp_path}
          for program in redis-server rabbitmq-server epmd; do echo > $program; chmod +x $program; done
        fi
        rmdir {tmp_path}/running
        """)
    )
    apt.chmod(0o755)
    script = textwrap.dedent(f"""\
        import os
        from pathlib import Path
        from docuchat_local import packages
        os.environ["PATH"] = {str(tmp_path)!r} + ":/usr/bin:/bin"
        packages._SEARCH = {str(tmp_path)!r}
        packages._LOCK = Path({str(tmp_path)!r}, "lock")
        packages._RABBITMQ_PROGRAMS = ()
        os.geteuid = lambda: 0
        print(packages.ensure_programs().redis)
        """)
    starting = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in starting] == [str(tmp_path / "redis-server")] * 3
    assert (tmp_path / "calls").read_text().split() == ["update", "install"]


def test_the_programs_that_start_services_are_replaced_by_ones_that_do_nothing(tmp_path):
    write_stand_ins(tmp_path)
    for name in ("systemctl", "invoke-rc.d", "deb-systemd-invoke", "start-stop-daemon"):
        done = subprocess.run([tmp_path / name, "start", "redis-server"], capture_output=True, check=True)
        assert done.stdout == b""
