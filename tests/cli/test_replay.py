"""`snapsim replay` and `snapsim compare-mechanisms`."""

import json
import signal
import time

import pandas as pd
import pytest

import snapsim as ss
from tests.cli.conftest import spawn

RULES = ("--schedule", "6h", "--keep-last", "3")


@pytest.fixture(scope="module")
def timeline(trace):
    policy = ss.Policy(schedule="6h", keep_last=3)
    return policy.timeline(ss.count_lifetimes(trace, schedules=policy, block_size=4096).instants)


@pytest.fixture(scope="module")
def answer(trace, timeline):
    return ss.replay(trace, timeline)


def plain(summary):
    return json.loads(json.dumps(summary))


def test_the_answer_is_that_of_the_package(run, stored, answer):
    got = run("replay", stored, *RULES)
    assert got.status == 0, got.err
    assert got.out == answer.text() + "\n"
    assert not got.err
    assert run("replay", stored, *RULES, "--json").json == {**plain(answer.summary()), "files": {}}


def test_every_parameter_reaches_the_answer(run, trace, stored, timeline):
    got = run(
        "replay", stored, *RULES, "--mechanism", "qcow2-external", "--option", "refcount_bits=32",
        "--block-size", "128KiB", "--device", "hdd", "--interval", "1h", "--cache-size", "256KiB",
        "--cache-entry-size", "4KiB", "--merge", "stream", "--merge-speed", "1MiB", "--initial", "read-first",
        "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    system = ss.mechanism("qcow2-external").with_options(block_size="128KiB", refcount_bits=32)
    answer = ss.replay(
        trace, timeline, system, "hdd", interval="1h", cache_bytes="256KiB", cache_entry_bytes="4KiB",
        merge="stream", merge_speed="1MiB", initial="read-first",
    )  # fmt: skip
    expected = plain(answer.summary())
    for name in ("cache_bytes", "cache_entry_bytes"):  # as it was typed
        expected["provenance"]["replay"][name] = got.json["provenance"]["replay"][name]
    assert got.json == {**expected, "files": {}}


def test_policies_that_act_on_what_is_written(run, trace, stored, tmp_path):
    path = tmp_path / "quiet.toml"
    path.write_text(
        "[policy.quiet.classes.hourly]\nschedule = '@hourly'\nmin_written = '2560KiB'\nkeep = 5\n"
    )
    got = run("replay", stored, "--policy", path, "--device", "none", "--json")
    assert got.status == 0, got.err
    policy = ss.Policy.from_toml(path)
    counted = ss.count_lifetimes(trace, schedules=policy, block_size="64KiB")
    expected = ss.replay(trace, ss.run_policy(policy, counted), device=None)
    assert got.json["operations"] == plain(expected.summary()["operations"])
    assert 0 < got.json["operations"]["created"] < 72


def test_what_snapshots_add(run, stored):
    got = run("replay", stored, *RULES, "--baseline", "--json")
    assert got.json["baseline"]["operations"]["created"] == 0
    with_them, without = got.json["ratios"], got.json["baseline"]["ratios"]
    assert with_them["write_amplification"] > without["write_amplification"] > 0
    assert "without snapshots" in run("replay", stored, *RULES, "--baseline").out


def test_without_a_device(run, stored):
    got = run("replay", stored, *RULES, "--device", "none")
    assert got.status == 0, got.err
    assert "latency" not in got.out
    assert "stops the guest" not in got.out
    assert run("replay", stored, *RULES, "--device", "none", "--json").json["load"] is None


def test_files_are_written_whole(run, stored, answer, tmp_path):
    table, operations = tmp_path / "intervals.csv", tmp_path / "operations.csv"
    got = run("replay", stored, *RULES, "--csv", table, "--operations", operations)
    assert got.status == 0, got.err
    assert str(table) in got.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["intervals.csv", "operations.csv"]
    for path, frame in ((table, answer.frame), (operations, answer.operations)):
        found = pd.read_csv(path)
        assert list(found.columns) == list(frame.columns)
        assert found["written_bytes"].tolist() == frame["written_bytes"].tolist()


def test_side_by_side(run, trace, stored, timeline, tmp_path):
    table = tmp_path / "both.csv"
    both = ("--mechanism", "dm-thin", "--mechanism", "qcow2-external")
    expected = ss.compare_mechanisms(trace, timeline, ["dm-thin", "qcow2-external"], "sata-ssd")
    got = run("compare-mechanisms", stored, *RULES, *both, "--device", "sata-ssd", "--csv", table)
    assert got.status == 0, got.err
    assert got.out == f"{expected.text()}\ncsv: {table}\n"
    assert pd.read_csv(table)["copied_bytes"].tolist() == expected.frame["copied_bytes"].tolist()
    got = run("compare-mechanisms", stored, *RULES, *both, "--device", "sata-ssd", "--json")
    assert got.json == {**plain(expected.summary()), "files": {}}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--device", "floppy"), "device 'floppy' is unknown: there are hdd"),
        (("--merge", "sideways"), '"commit", "stream"'),
        (("--merge-speed", "0"), "--merge-speed: it cannot be zero"),
        (("--merge-speed", "fast"), "--merge-speed: size 'fast'"),
        (("--cache-size", "lots"), "--cache-size: size 'lots'"),
        (("--interval", "3m"), "--interval: duration '3m' could be minutes or months"),
        (("--interval", "1us"), "--interval 1us gives"),
        (("--mechanism", "qcow3"), "mechanism 'qcow3' is unknown"),
        (("--initial", "nosuch"), "--initial 'nosuch' is none of"),
        (("--every", "0s"), "--every: an interval cannot be zero"),
        (("--csv", "/nosuch/folder.csv"), "there is no folder /nosuch"),
    ],
)
def test_mistakes_are_one_sentence(refused, stored, options, told):
    assert told in refused("replay", stored, *RULES, *options, status=2)


def test_the_page_shows_the_answer(run, refused, stored, tmp_path):
    page = tmp_path / "page.html"
    got = run("replay", stored, *RULES, "--report", page, "--json")
    assert got.status == 0, got.err
    assert got.json["files"] == {"report": str(page)}
    source = page.read_text()
    assert source.startswith("<!DOCTYPE html>")
    assert "Latency over time: " in source
    assert "is no file but a device" in refused("replay", stored, *RULES, "--report", "/dev/null", status=2)


def test_a_policy_is_needed(refused, stored):
    assert "which snapshots are taken and kept?" in refused("replay", stored, status=2)


def test_one_volume_at_a_time(run, refused, two_volumes):
    told = refused("replay", two_volumes, *RULES, status=2)
    assert "2 volumes" in told
    assert "--volume NAME: log, data" in told
    assert run("replay", two_volumes, *RULES, "--volume", "log", "--device", "none").status == 0


def test_a_system_against_itself(refused, stored):
    twice = ("--mechanism", "wafl", "--mechanism", "wafl")
    assert "given twice" in refused("compare-mechanisms", stored, *RULES, *twice, status=2)
    told = refused("compare-mechanisms", stored, *RULES, "--block-size", "4KiB", status=2)
    assert "dm-thin" in told


def test_interrupted(long_msr, tmp_path):
    table = tmp_path / "out.csv"
    child = spawn("replay", long_msr, "--schedule", "1h", "--keep-last", "2", "--csv", table)
    time.sleep(2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert (out, err.strip().splitlines()[-1]) == ("", "snapsim: interrupted")
    assert not list(tmp_path.iterdir())
