"""`snapsim restore-time` and `snapsim clones`."""

import json

import pandas as pd
import pytest

import snapsim as ss

RULES = ("--schedule", "@hourly", "--keep-hourly", "4", "--keep-daily", "2")
POLICY = ss.Policy(schedule="@hourly", keep_hourly=4, keep_daily=2)


def plain(summary):
    return json.loads(json.dumps(summary, default=lambda value: value.item()))


def expected(trace, mechanism="qcow2-external", device="nvme", **how):
    counted = ss.count_lifetimes(trace, schedules=[POLICY], block_size=ss.mechanism(mechanism).block_size)
    return ss.restore_times(trace, POLICY.timeline(counted.instants), mechanism, device, **how)


def test_the_answer_is_that_of_the_package(run, trace, stored):
    got = run("restore-time", stored, *RULES)
    assert got.status == 0, got.err
    assert got.out == expected(trace).text() + "\n"
    answer = run("restore-time", stored, *RULES, "--json").json
    assert answer == {**plain(expected(trace).summary()), "boot": None, "files": {}}


def test_every_parameter_reaches_the_answer(run, trace, stored):
    got = run(
        "restore-time", stored, *RULES, "--mechanism", "dm-snapshot", "--device", "hdd", "--target", "nvme",
        "--network", "50MiB", "--at", "2026-03-03T12:30Z", "--base", "2026-03-03T10:00Z", "--extent",
        "1MiB+64KiB", "--extent", "0+1", "--chunk", "64KiB", "--streams", "2", "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    answer = expected(
        trace, "dm-snapshot", "hdd", target="nvme", network="50MiB", at="2026-03-03T12:30Z",
        base="2026-03-03T10:00Z", part=[(1 << 20, 65536), (0, 1)], chunk="64KiB", streams=2,
    )  # fmt: skip
    assert got.json == {**plain(answer.summary()), "boot": None, "files": {}}


def test_a_guest_that_starts_at_once(run, trace, stored):
    got = run(
        "restore-time", stored, *RULES, "--boot", "--after", "1h", "--window", "3h", "--learn-after", "10h",
        "--reads", "10", "--rate", "1MiB", "--fetch-size", "64KiB", "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    boots = ss.boot_orders(
        trace, "nvme", after="1h", window="3h", learn_after="10h", reads=10, rate="1MiB", block_size="64KiB"
    )
    assert got.json["boot"] == plain(boots.summary())
    assert boots.text() in run(
        "restore-time", stored, *RULES, "--boot", "--after", "1h", "--window", "3h", "--learn-after", "10h",
        "--reads", "10", "--rate", "1MiB", "--fetch-size", "64KiB",
    ).out  # fmt: skip


def test_files(run, trace, stored, tmp_path):
    table, picture = tmp_path / "restores.csv", tmp_path / "restores.svg"
    got = run("restore-time", stored, *RULES, "--csv", table, "--figure", picture)
    assert got.status == 0, got.err
    assert str(picture) in got.out
    assert pd.read_csv(table)["duration_ns"].tolist() == expected(trace).frame["duration_ns"].tolist()
    assert "<svg" in picture.read_text()
    orders = run(
        "restore-time",
        stored,
        *RULES,
        "--boot",
        "--window",
        "3d",
        "--csv",
        table,
        "--figure",
        picture,
        "--json",
    )
    assert orders.json["files"] == {"csv": str(table), "figure": str(picture)}
    assert set(pd.read_csv(table)["order"]) == {"linear", "hottest", "needed"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (["--device", "floppy"], "--device|floppy"),
        (["--target", "floppy"], "floppy"),
        (["--network", "fast"], "--network: size 'fast'"),
        (["--chunk", "0"], "--chunk: a size cannot be zero"),
        (["--streams", "0"], "--streams must be at least 1"),
        (["--part", "half"], "--part half is no share"),
        (["--extent", "1MiB"], "--extent '1MiB': write FIRST"),
        (["--extent", "1MiB+1GiB"], "outside the volume"),
        (["--at", "2001-01-01"], "--at 2001-01-01 is before the first instant"),
        (["--base", "2001-01-01"], "--base 2001-01-01: no snapshot"),
        (["--initial", "read-first"], "none of thick, thin"),
        (["--figure", "a.gif"], "--figure a.gif"),
        (["--boot", "--window", "soon"], "--window: duration 'soon'"),
        (["--boot", "--reads", "0"], "--reads must be"),
        (["--boot", "--fetch-size", "0"], "--fetch-size: a size"),
        (["--boot", "--after", "30d"], "no guest to serve"),
    ],
)
def test_mistakes_of_restores(refused, stored, how, message):
    import re

    assert re.search(message, refused("restore-time", stored, *RULES, *how, status=2))


def test_a_restore_needs_a_policy_and_one_volume(refused, stored, two_volumes):
    assert "which snapshots" in refused("restore-time", stored, status=2)
    assert "--volume" in refused("restore-time", two_volumes, *RULES, status=2)


def test_clones_are_those_of_the_package(run, trace, stored):
    room = ss.clones(trace, 20)
    got = run("clones", stored, "-n", "20")
    assert got.status == 0, got.err
    assert got.out == room.text() + "\n"
    assert run("clones", stored, "--count", "20", "--json").json == {**plain(room.summary()), "files": {}}


def test_every_parameter_reaches_the_clones(run, trace, stored, tmp_path):
    table, picture = tmp_path / "clones.csv", tmp_path / "clones.svg"
    base = tmp_path / "map.json"
    base.write_text(
        '[{"start": 0, "length": 4194304, "depth": 0, "present": true, "zero": false, "data": true}]'
    )
    got = run(
        "clones", stored, "-n", "3", "--mechanism", "dm-thin", "--block-size", "128KiB", "--device", "hdd",
        "--initial", base, "--stagger", "2h", "--reset", "1d", "--every", "1h", "--object-size", "1MiB",
        "--csv", table, "--figure", picture, "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    room = ss.clones(
        trace, 3, mechanism=ss.mechanism("dm-thin").with_options(block_size="128KiB"),
        device="hdd", initial=base, stagger="2h", reset="1d", every="1h", object_size="1MiB",
    )  # fmt: skip
    assert got.json == {**plain(room.summary()), "files": {"csv": str(table), "figure": str(picture)}}
    assert pd.read_csv(table)["overlay_bytes"].tolist() == room.frame["overlay_bytes"].tolist()


def test_volumes_are_dealt_out(run, two_volumes):
    members = run("clones", two_volumes, "-n", "3", "--json").json["members"]
    assert [one["trace"] for one in members] == ["log", "data", "log"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (["-n", "0"], "--count must be at least 1"),
        ([], "--count requires"),
        (["-n", "2", "--reset", "0s"], "--reset: an interval cannot be zero"),
        (["-n", "2", "--stagger", "soon"], "--stagger: duration 'soon'"),
        (["-n", "2", "--reset", "7min", "--every", "5min"], "no multiple of"),
        (["-n", "2", "--object-size", "1"], "--object-size 1 is too small"),
        (["-n", "2", "--mechanism", "ebs"], "full copy"),
        (["-n", "2", "--initial", "thin"], "none of thick"),
        (["-n", "2", "--figure", "a.gif"], "--figure a.gif"),
    ],
)
def test_mistakes_of_clones(refused, stored, how, message):
    assert message in refused("clones", stored, *how, status=2)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("restore-time", *RULES), lambda answer: answer["time_scale"]),
        (
            ("restore-time", *RULES, "--boot", "--after", "2h", "--window", "9h"),
            lambda answer: answer["boot"]["time_scale"],
        ),
        (("clones", "--count", "3"), lambda answer: answer["time_scales"][0]),
    ],
)
def test_the_pace_of_a_recording_is_said(run, trace, stored, tmp_path, command, told):
    name, *how = command
    path = trace.stretch(2).save(tmp_path / "paced.parquet")
    assert "\n  time scale          1 s stands for 2s (x2)\n" in run(name, path, *how).out
    assert told(run(name, path, *how, "--json").json) == 2
    assert "time scale" not in run(name, stored, *how).out
