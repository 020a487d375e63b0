"""`snapsim policy import` and `export`."""

import io

import pytest

from snapsim.policy import Policy


def test_options_as_words(run):
    got = run("policy", "import", "--from", "restic", "--keep-daily", "7", "-w", "4", "--prune")
    assert got.status == 0
    assert got.err == "snapsim: note: --prune is left aside\n"
    policy = Policy.from_toml(got.out)
    assert policy == Policy(compat="restic", keep_daily=7, keep_weekly=4, group_by=["host", "paths"])


def test_one_quoted_line_a_file_and_standard_input_are_the_same(run, tmp_path, monkeypatch):
    line = "keep-last=3,keep-daily=7"
    (tmp_path / "job").write_text(line)
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    for words in (line, tmp_path / "job", "-"):
        got = run("policy", "import", "--from", "pbs", words, "--timezone", "Europe/Berlin", "--name", "vm")
        assert got.status == 0
        policy = Policy.from_toml(got.out)
        assert policy == Policy(
            compat="proxmox", keep_last=3, keep_daily=7, timezone="Europe/Berlin", name="vm"
        )


def test_there_and_back_through_files(run, tmp_path):
    file = tmp_path / "vm.toml"
    assert run("policy", "import", "--from", "borg", "-o", file, "--", "-d", "7", "-a", "vm-*").out == ""
    got = run("policy", "export", file, "--to", "borg")
    assert got.out == "--keep-daily 7 -a 'vm-*'\n"
    assert run("policy", "export", file, "--to", "borg", "--output", tmp_path / "line").status == 0
    assert (tmp_path / "line").read_text() == got.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line", "vm.toml"]


def test_what_a_tool_cannot_express(run, refused, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('keep_daily = 7\ntimezone = "Europe/Berlin"\n')
    assert "the tool decides in 'recorded'" in refused("policy", "export", file, "--to", "restic", status=2)
    got = run("policy", "export", file, "--to", "restic", "--approximate")
    assert got.status == 0
    assert got.out.startswith("# not the same: ")
    assert got.out.endswith("--keep-daily 7 --group-by ''\n")


@pytest.mark.parametrize("tool", ["sanoid", "restic", "btrbk", "snapper", "zrepl", "proxmox"])
@pytest.mark.parametrize("name", ["btrbk.conf", "/etc/snapper/configs/root", "job.yml"])
def test_a_file_that_is_not_there_is_no_policy(refused, tool, name):
    told = refused("policy", "import", "--from", tool, name.replace("etc", "no-etc"), status=2)
    assert "there is no file" in told


def test_refusals(refused, tmp_path):
    assert "--keep-dayly is no option" in refused(
        "policy", "import", "--from", "restic", "--keep-dayly", "7", status=2
    )
    assert "no tool that is translated" in refused("policy", "import", "--from", "tar", "x", status=2)
    (tmp_path / "broken").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused("policy", "import", "--from", "restic", tmp_path / "broken", status=2)
    missing = tmp_path / "no" / "file"
    assert "file" in refused("policy", "import", "--from", "borg", "-o", missing, "--", "-d", "7", status=2)
