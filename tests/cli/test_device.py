"""`snapsim device`."""

import pytest

import snapsim as ss


def test_devices_are_listed(run):
    got = run("device", "list")
    listed = run("device", "list", "--json").json
    assert [one["name"] for one in listed] == list(ss.devices())
    for one in listed:
        (line,) = (line for line in got.out.splitlines() if line.startswith(one["name"] + " "))
        assert one["title"] in line
    # a random read of a disk has to wait for the arm and for half a revolution
    assert "11.8ms" in got.out


def test_everything_about_one_device(run):
    for name in ss.devices():
        one = ss.device(name)
        got = run("device", "show", name)
        assert got.status == 0, got.err
        assert got.out.startswith(f"{name}: {one.title}\n")
        for text in (*one.caveats, *(item.source for item in one.evidence)):
            assert text in got.out
        document = run("device", "show", name, "--json").json
        assert document["read"]["random"] == one.read.random
        assert document["validated"] is False


def test_an_unknown_device(refused):
    assert "did you mean 'nvme'?" in refused("device", "show", "nvm", status=2)


def test_a_plan_runs_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    told = run("device", "measure", "--folder", tmp_path, "--size", "16MiB", "--plan", "--json").json
    assert told["temporary"]
    assert told["size"] == 16 << 20
    assert told["commands"][0][0] == "fio"
    got = run("device", "measure", "--folder", tmp_path, "--size", "16MiB", "--plan")
    assert f"16 MiB of a temporary file in {tmp_path}" in got.out
    assert not list(tmp_path.iterdir())


def test_a_target_is_not_touched_without_being_asked(run, refused, tmp_path):
    target = tmp_path / "mine"
    target.write_bytes(b"precious" * (1 << 20))
    before = target.stat()
    text = refused("device", "measure", "--target", target, status=2)
    assert "destroys what is in it" in text
    assert "--yes" in text
    got = run("device", "measure", "--target", target, "--plan")
    assert "8 MiB of" in got.out  # never beyond its end
    assert "OVERWRITTEN" in got.out
    assert target.read_bytes()[:8] == b"precious"
    assert (target.stat().st_mtime_ns, target.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--target", "none"), "neither a file nor a block device"),
        (("--folder", "none"), "there is no folder"),
        (("-o", "device.txt"), "let it end in .toml"),
        (("--size", "1MiB"), "too little to measure"),
        (("--seconds", "0"), "make no sense"),
        (("--target", "none", "--folder", "."), "exclude each other"),
    ],
)
def test_measurements_that_make_no_sense(refused, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    assert match in refused("device", "measure", *arguments, status=2)
    assert not list(tmp_path.iterdir())


def test_too_little_space(refused, tmp_path):
    assert "too little for a file" in refused(
        "device", "measure", "--folder", tmp_path, "--size", "9PiB", status=1
    )


def test_without_fio(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    told = refused("device", "measure", "--folder", tmp_path, "--size", "8MiB", "--json", status=1)
    assert "install the package fio" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
@pytest.mark.needs_program("fio")
def test_a_measured_device_can_be_used(run, tmp_path, monkeypatch):
    monkeypatch.setattr("snapsim.devices.measuring.SIZES", (4096, 1 << 20))  # fewer jobs: each takes a while
    monkeypatch.setattr("snapsim.devices.measuring.DEPTHS", (4,))
    path = tmp_path / "mine.toml"
    how = ("--size", "8MiB", "--seconds", "0.05", "--buffered")
    got = run("device", "measure", "--folder", tmp_path, "-o", path, *how)
    assert got.status == 0, got.err
    assert "requests a second" in got.out
    assert "through the page cache" in got.out
    assert [each.name for each in tmp_path.iterdir()] == ["mine.toml"]
    one = ss.device(path)
    assert one.name == "mine"
    assert one.validated
    assert run("device", "show", path).out.startswith("mine: mine, measured\n")

    target = tmp_path / "target"
    target.write_bytes(bytes(8 << 20))
    told = run("device", "measure", "--target", target, "--yes", "--json", "--name", "other", *how).json
    assert told["device"]["name"] == "other"
    assert len(told["jobs"]) == 13
    assert target.read_bytes() != bytes(8 << 20)
