"""`snapsim changes qcow2`, and the commands that take what it makes, as people run them."""

import json
import subprocess
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.cli import main

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-img", "qemu-io")]
TIMES = ("2026-01-01", "2026-01-02T00:00", "2026-01-03T00:00Z")
DAILY = ("--schedule", "@daily", "--keep-daily", "7")


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    below = []
    for number, name in enumerate(("base", "one", "two")):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, f"{name}.qcow2", "1M"], check=True)
        write = f"write -q 0 {(number + 1) * 64}k"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, f"{name}.qcow2"], check=True)
        below = ["-b", f"{name}.qcow2", "-F", "qcow2"]


def test_a_chain_becomes_a_trace_that_simulate_takes(chain, capsys):
    assert main(["changes", "qcow2", "two.qcow2", "-o", "c.parquet", "--at", *TIMES]) == 0
    out = capsys.readouterr().out
    assert "3, 1d apart" in out
    assert "versions that lived between two snapshots are not seen" in out
    trace = ss.read_trace("c.parquet")
    assert [str(one)[:10] for one in trace.instants.view("datetime64[ns]")] == [
        "2026-01-01", "2026-01-02", "2026-01-03",
    ]  # fmt: skip

    assert main(["simulate", "c.parquet", *DAILY, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["end"]["snapshots"] == 3
    # 64 KiB of the base and 128 KiB of the layer above are held by snapshots only
    assert answer["end"]["snapshot_bytes"] == 3 * 65536
    assert answer["provenance"]["trace"]["changes_between_snapshots"] == 3
    assert "changes between 3 snapshots" in answer["coverage"]["verdict"]

    Path("d.toml").write_text("name = 'd'\nschedule = '@daily'\nkeep_daily = 7\n")
    assert main(["policy", "compare", "d.toml", "--trace", "c.parquet"]) == 0
    assert "changes between 3 snapshots" in capsys.readouterr().out


def test_json_and_moments_of_the_files(chain, capsys):
    assert main(["changes", "qcow2", "two.qcow2", "--output", "c.parquet", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == "changes"
    assert answer["snapshots"] == 3
    assert answer["changed_bytes"] == 5 * 65536
    assert main(["trace", "stats", "c.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).items() <= answer.items()
    assert main(["trace", "info", "c.parquet"]) == 0
    assert "no I/O figures" in capsys.readouterr().out
    assert main(["report", "c.parquet", "-o", "page.html"]) == 0


def test_internal_snapshots(chain, capsys):
    for name in ("a", "b"):
        subprocess.run(["qemu-img", "snapshot", "-c", name, "base.qcow2"], check=True)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q 0 64k", "base.qcow2"], check=True)
    assert main(["changes", "qcow2", "base.qcow2", "-o", "i.parquet"]) == 0
    assert ss.read_trace("i.parquet").names == ("a", "b", "now")
    assert main(["changes", "qcow2", "--internal", "two.qcow2", "-o", "i.parquet"]) == 2
    assert "has no internal snapshot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing.qcow2", "-o", "c.parquet"], 3, "nothing.qcow2 does not exist"),
        (["base.qcow2", "-o", "c.parquet"], 2, "neither a backing file nor internal snapshots"),
        (["two.qcow2", "-o", "c.csv"], 2, "has to end in .parquet"),
        (["two.qcow2", "-o", "no/c.parquet"], 2, "no"),
        (["two.qcow2", "-o", "c.parquet", "--at", "2026-01-01"], 2, "there are 3 states"),
        (["two.qcow2", "-o", "c.parquet", "--at", "soon", "2026-01-02", "2026-01-03"], 2, "'soon' is not"),
        (["two.qcow2"], 2, "output"),
    ],
)
def test_mistakes(chain, capsys, arguments, status, message):
    assert main(["changes", "qcow2", *arguments]) == status
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_what_a_change_trace_cannot_tell_is_said(chain, capsys):
    assert main(["changes", "qcow2", "two.qcow2", "-o", "c.parquet", "--at", *TIMES]) == 0
    for command in (
        ["replay", "c.parquet", *DAILY],
        ["compare-mechanisms", "c.parquet", *DAILY],
        ["restore-time", "c.parquet", *DAILY],
        ["clones", "c.parquet", "--count", "3"],
        ["simulate", "c.parquet", *DAILY, "--initial", "read-first"],
    ):
        assert main(command) == 2
        assert "this is a change trace: it knows what changed between 3 snapshots" in capsys.readouterr().err
    assert main(["simulate", "c.parquet", *DAILY, "--mechanism", "zfs"]) == 2
    assert "changes are known in units of 64 KiB" in capsys.readouterr().err
