"""`snapsim changes import`, as people run it, and what they get wrong."""

import json
import os

import pytest

import snapsim as ss
from snapsim.cli import main


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("offset,length\n0,65536\n")
    (tmp_path / "b=c.json").write_text('[{"offset": 65536, "length": 65536, "exists": "true"}]')
    (tmp_path / "bad.csv").write_text("offset,length\n0,many\n")
    (tmp_path / "text").write_text("nothing of the kind\n")
    return tmp_path


def test_files_become_a_trace(files, capsys):
    given = ["2026-03-01=", "2026-03-02=a.csv", "2026-03-03T00:00+01:00=b=c.json"]
    assert main(["changes", "import", *given, "--capacity", "1MiB", "-o", "c.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "c.parquet"
    trace = ss.read_trace("c.parquet")
    assert str(trace.instants.view("datetime64[ns]")[2])[:16] == "2026-03-02T23:00"
    assert (trace.grain, trace.capacity, trace.initial) == (65536, 1 << 20, None)
    assert "all extents fit 64 KiB" in " ".join(trace.info.notes)
    assert main(["simulate", "c.parquet", "--schedule", "@daily", "--keep-daily", "7"]) == 0


def test_a_file_whose_name_is_no_text(files, capsys):
    name = os.fsdecode(b"\xff.csv")
    (files / name).write_text("offset,length\n0,65536\n")
    words = ["2026-03-01=", f"2026-03-02={name}", "--capacity", "1MiB", "-o", "c.parquet"]
    assert main(["changes", "import", *words]) == 0
    assert "?.csv" in capsys.readouterr().out
    assert ss.read_trace("c.parquet").info.source == "?.csv"


def test_help_names_every_format(capsys):
    from snapsim.traces.change_files import CHANGE_FORMATS

    assert main(["changes", "import", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in CHANGE_FORMATS)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["a.csv"], 2, "a.csv: write TIME=FILE"),
        (["=a.csv"], 2, "write TIME=FILE"),
        (["2026-03-01="], 2, "no file says what changed"),
        (["monday=", "2026-03-01=a.csv", "--capacity", "1MiB"], 2, "'monday' is not a point in time"),
        (["2026-03-01=", "2026-03-02=a.csv"], 2, "--capacity"),
        (["2026-03-01=", "2026-03-02=a.csv", "--capacity", "lots"], 2, "lots"),
        (["2026-03-01=", "2026-03-02=a.csv", "--capacity", "1KiB"], 3, "beyond the volume"),
        (
            ["2026-03-01=", "2026-03-02=bad.csv", "--capacity", "1MiB"],
            3,
            "bad.csv, line 2, length: is 'many'",
        ),
        (["2026-03-01=", "2026-03-02=text", "--capacity", "1MiB"], 3, "no format of changes that is known"),
        (["2026-03-01=", "2026-03-02=none", "--capacity", "1MiB"], 3, "none"),
        (["2026-03-01=", "2026-03-02=a.csv", "--format", "zfs"], 2, "no format 'zfs'"),
        (["2026-03-01=", "2026-03-02=a.csv", "--format", "ebs"], 3, "a.csv, line 1: is no JSON"),
        ([], 2, "requires an argument"),
    ],
)
def test_mistakes_are_told_in_a_sentence(files, capsys, words, status, message):
    assert main(["changes", "import", *words, "-o", "c.parquet"]) == status
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (files / "c.parquet").exists()
