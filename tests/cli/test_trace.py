"""`snapsim trace`."""

import gzip
import json

import pytest

import snapsim as ss
from snapsim.traces import statistics
from snapsim.traces.formats import FORMATS


def test_info_says_what_a_trace_is_and_what_looks_wrong(run, msr):
    got = run("trace", "info", msr)
    assert got.status == 0
    assert not got.err
    assert got.out.startswith("Trace\n")
    assert "3,600" in got.out
    assert "usr_0" in got.out
    for finding in statistics.sanity(ss.read_trace(msr)):
        assert finding.text.split(" (")[0] in got.out


def test_findings_name_options_not_parameters(run, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text(
        "".join(f"128166372000000000,usr,0,Write,{block * 4096 + 512},4096,1\n" for block in range(99))
    )
    got = run("trace", "info", path)
    assert got.status == 0
    assert "WARNING" in got.out
    assert "--time-unit" in got.out  # all at one time: a span of nothing
    assert "--shift 3584" in got.out
    assert "time_unit" not in got.out


def test_info_as_json(run, msr, stored):
    one = run("trace", "info", msr, "--json").json
    assert one["format"] == "msr"
    assert one["requests"] == 3600
    assert one["volumes"] == ["usr_0"]
    assert {"level", "text"} == set(one["findings"][0])
    both = run("trace", "info", msr, stored, "--json").json
    assert [each["requests"] for each in both] == [3600, 4000]
    assert both[0] == one


def test_stats_as_json_are_exactly_the_summary(run, msr, two_volumes):
    for path in (msr, two_volumes):
        got = run("trace", "stats", path, "--json")
        assert not got.err
        assert got.json == json.loads(json.dumps(statistics.summarise(ss.read_trace(path)).to_dict()))


def test_stats_for_people(run, msr):
    got = run("trace", "stats", msr)
    assert got.out == statistics.summarise(ss.read_trace(msr)).text() + "\n"


def test_several_files_are_several_traces(run, msr, stored):
    assert len(run("trace", "stats", msr, stored, "--json").json) == 2
    first, second = run("trace", "stats", msr, stored).out.split("\n\n")
    assert "usr_0.csv" in first
    assert "4,000" in second


@pytest.mark.parametrize("place", ["before", "after"])
def test_options_stand_before_or_after_files(run, msr, place):
    options = ["--format", "msr", "--json"]
    order = [*options, msr] if place == "before" else [msr, *options]
    assert run("trace", "stats", *order).json["requests"] == 3600


def test_reader_options_reach_the_reader(run, tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text("".join(f"{second},{second % 2},{second * 8},8\n" for second in range(10)))
    got = run(
        "trace", "stats", path, "--json", "--format", "csv", "--time-unit", "s", "--address-unit", "512B",
        "--length-unit", "512B", "--capacity", "1MiB", "--start", "2026-01-01T00:00Z",
        "--reader-option", "columns=time=1,op=2,offset=3,length=4", "--reader-option", "ops=0=read,1=write",
    )  # fmt: skip
    assert got.status == 0, got.err
    summary = got.json
    assert summary["span_seconds"] == 9
    assert summary["start"] == "2026-01-01T00:00:00Z"
    assert summary["writes"] == 5
    assert summary["written_bytes"] == 5 * 4096
    assert summary["max_end_bytes"] == 10 * 4096
    assert summary["capacity_bytes"] == 1 << 20


def test_a_negative_shift_is_a_value_not_an_option(run, tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("".join(f"12816637200000{n:04},usr,0,Write,{n * 4096 + 512},4096,1\n" for n in range(9)))
    for spelt in (["--shift", "-512B"], ["--shift=-512B"]):
        assert run("trace", "stats", path, "--json", *spelt).json["unaligned_4k_share"] == 0


def test_volumes_are_selected(run, two_volumes):
    whole = run("trace", "stats", two_volumes, "--json").json
    part = run("trace", "stats", two_volumes, "--volume", "log", "--json").json
    assert {one["volume"] for one in whole["volumes"]} == {"log", "data"}
    assert [one["volume"] for one in part["volumes"]] == ["log"]
    assert 0 < part["requests"] < whole["requests"]
    both = run("trace", "stats", two_volumes, "--volume", "log", "--volume", "data", "--json").json
    assert both["requests"] == whole["requests"]


def test_convert_stores_a_trace(run, msr, tmp_path):
    target = tmp_path / "usr.parquet"
    got = run("trace", "convert", msr, target)
    assert got.status == 0, got.err
    assert got.out.endswith(f"stored as {target}\n")
    assert ss.read_trace(target).fingerprint == ss.read_trace(msr).fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["usr.parquet"]


def test_convert_joins_the_files_of_one_trace(run, msr, tmp_path):
    lines = msr.read_text().splitlines(keepends=True)
    parts = [tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"]
    for part, cut in zip(parts, (lines[:2000], lines[2000:]), strict=True):
        part.write_bytes(gzip.compress("".join(cut).encode()))
    got = run("trace", "convert", *parts, tmp_path / "whole.parquet", "--json")
    assert got.json["requests"] == 3600
    assert got.json["fingerprint"] == ss.read_trace(msr).fingerprint
    assert got.json["target"] == str(tmp_path / "whole.parquet")


def test_convert_takes_stored_traces_too(run, two_volumes, tmp_path):
    got = run("trace", "convert", two_volumes, "--volume", "log", tmp_path / "log.parquet")
    assert got.status == 0, got.err
    assert ss.open_trace(tmp_path / "log.parquet").volumes == ("log",)


def test_convert_never_replaces_what_is_no_stored_trace(refused, msr, tmp_path):
    precious = tmp_path / "precious.parquet"
    precious.write_text("not Parquet")
    assert "no stored trace" in refused("trace", "convert", msr, precious, status=2)
    assert precious.read_text() == "not Parquet"
    other = tmp_path / "other.csv"
    other.write_bytes(msr.read_bytes())
    assert ".parquet" in refused("trace", "convert", msr, other, status=2)
    assert other.read_bytes() == msr.read_bytes()
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    assert refused("trace", "convert", msr, folder, status=3)
    assert (folder / "letter.txt").read_text() == "dear"


def test_convert_of_a_damaged_trace_leaves_what_was_there(refused, run, msr, tmp_path):
    target = tmp_path / "usr.parquet"
    run("trace", "convert", msr, target)
    before = target.read_bytes()
    damaged = tmp_path / "damaged.csv"
    damaged.write_text(msr.read_text() + "128166372000000000,usr,0,Write,minus,4096,1\n" * 100)
    message = refused("trace", "convert", damaged, target, status=3)
    assert "--damage-limit" in message
    assert "line 3601" in message
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.csv", "usr.parquet"]
    got = run("trace", "convert", damaged, target, "--damage-limit", "0.1", "--json")
    assert got.json["dropped_lines"] == 100


def test_convert_needs_a_target(refused, msr, tmp_path):
    assert "what to write" in refused("trace", "convert", msr, status=2)
    assert "there is no folder" in refused("trace", "convert", msr, tmp_path / "no" / "x.parquet", status=2)


def test_formats_are_listed(run):
    got = run("trace", "formats")
    listed = run("trace", "formats", "--json").json
    assert [one["name"] for one in listed] == list(FORMATS)
    assert "action" in listed[FORMATS.index("blkparse")]["options"]
    for name in FORMATS:
        assert f"\n{name} " in got.out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LFS"),
        ("hello\nworld\n", "no known format"),
    ],
)
def test_what_is_no_trace_is_refused(refused, tmp_path, content, says):
    path = tmp_path / "what.csv"
    path.write_text(content)
    assert says in refused("trace", "info", path, status=3)


def test_a_missing_trace(refused, tmp_path):
    assert "No such file" in refused("trace", "stats", tmp_path / "nothing.csv", status=3)


def test_mistyped_formats_and_options(refused, msr, stored):
    assert "did you mean 'msr'?" in refused("trace", "info", msr, "--format", "mrs", status=2)
    assert "has no option 'acton'" in refused("trace", "info", msr, "--reader-option", "acton=D", status=2)
    assert "name=value" in refused("trace", "info", msr, "--reader-option", "action", status=2)
    assert "given twice" in refused(
        "trace", "info", msr, "--reader-option", "a=1", "--reader-option", "a=2", status=2
    )
    assert "--damage-limit 7" in refused("trace", "info", msr, "--damage-limit", "7", status=2)
    assert "--time-unit" in refused("trace", "info", stored, "--time-unit", "us", status=2)
    assert "'usr_1'" in refused("trace", "info", msr, "--volume", "usr_1", status=2)


def test_public_figures(run, public_traces):
    """The figures of a file as people know them (see tests/traces for all of them)."""
    path = public_traces / "msr" / "rsrch_1.csv"
    summary = run("trace", "stats", path, "--json").json
    assert summary == json.loads(json.dumps(statistics.summarise(ss.read_trace(path)).to_dict()))
    assert summary["requests"] == 13_780


def test_a_public_file_damaged_by_a_spreadsheet(refused, public_traces):
    path = public_traces / "malformed" / "web3-excel-damaged.txt"
    assert "spreadsheet" in refused("trace", "info", path, status=3)


def test_stats_say_what_digests_say_and_what_the_pace_was(run, tmp_path):
    from snapsim.traces.fingerprints import fingerprints

    pages = [bytes(4096), b"page" * 1024, b"page" * 1024]
    trace = ss.Trace.from_arrays(
        range(3),
        ["write"] * 3,
        [0, 4096, 8192],
        [4096] * 3,
        digest=[fingerprints(page, 0, b"key") for page in pages],
        contents="snapsim-1",
    )
    path = trace.stretch(360, start="2026-06-01T00:00Z").save(tmp_path / "week.parquet")
    told = run("trace", "stats", path, "--json").json
    assert told["contents"]["zero_blocks"] == told["contents"]["duplicate_blocks"] == 1
    assert told["contents"] == ss.statistics.contents(trace).to_dict()
    assert told["time_scale"] == 360
    shown = run("trace", "stats", path).out
    assert "time scale" in shown
    assert "1 s stands for 6min (x360)" in shown
    assert "33.3% hold what was written before, anywhere" in shown
    assert "1 s stands for 6min (x360)" in run("trace", "info", path).out
