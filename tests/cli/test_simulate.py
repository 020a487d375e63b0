"""`snapsim simulate`."""

import json

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.policy.triggers import Event

RULES = ("--schedule", "@hourly", "--keep-hourly", "12", "--keep-daily", "2")
POLICY = ss.Policy(schedule="@hourly", keep_hourly=12, keep_daily=2)


def expected(trace, *, policy=POLICY, mechanism="qcow2-external", **how):
    """What the package itself answers."""
    system = ss.mechanism(mechanism)
    clock = {} if "every" in how else {"schedules": [policy]}
    counted = ss.count_lifetimes(trace, **clock, **{"block_size": system.block_size, **how})
    return ss.growth(counted, policy.timeline(counted.instants), mechanism=mechanism)


def plain(summary):
    return json.loads(json.dumps(summary))


def test_the_answer_is_that_of_the_package(run, trace, stored):
    answer = expected(trace)
    assert answer.peak["snapshot_bytes"] > 0
    got = run("simulate", stored, *RULES)
    assert got.status == 0, got.err
    assert got.out == answer.text() + "\n"
    assert not got.err
    assert run("simulate", stored, *RULES, "--json").json == {**plain(answer.summary()), "files": {}}


def test_a_policy_from_a_file(run, stored, policy_file):
    from_file = run("simulate", stored, "--policy", policy_file, "--json").json
    by_rules = run("simulate", stored, *RULES, "--json").json
    assert from_file["peak"] == by_rules["peak"]
    assert from_file["policy"].startswith("short: ")


def test_one_of_several_policies(run, refused, stored, policy_file):
    policy_file.write_text(policy_file.read_text() + '[policy.tiny]\nschedule = "@daily"\nkeep_last = 1\n')
    assert "short, tiny" in refused("simulate", stored, "--policy", policy_file, status=2)
    got = run("simulate", stored, "--policy", policy_file, "--policy-name", "tiny", "--json")
    assert got.json["policy"].startswith("tiny: ")


def test_a_preset_as_policy(run, stored):
    assert run("simulate", stored, "--policy", "gfs", "--json").json["policy"].startswith("gfs: ")


def test_every_parameter_reaches_the_answer(run, trace, stored):
    got = run(
        "simulate", stored, "--schedule", "6h", "--schedule", "0 1 * * *", "--keep-last", "3",
        "--keep-weekly", "1", "--keep-monthly", "1", "--keep-quarterly", "1", "--keep-yearly", "unlimited",
        "--keep-within", "1d",
        "--timezone", "Europe/Berlin", "--memory", "full", "--ram", "1MiB", "--mechanism", "dm-thin",
        "--block-size", "128KiB", "--every", "1h", "--initial", "thin", "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    policy = ss.Policy(
        schedule=["6h", "0 1 * * *"], keep_last=3, keep_weekly=1, keep_monthly=1, keep_quarterly=1,
        keep_yearly="unlimited", keep_within="1d", timezone="Europe/Berlin", memory="full", ram="1MiB",
    )  # fmt: skip
    system = ss.mechanism("dm-thin").with_options(block_size="128KiB")
    answer = expected(trace, policy=policy, mechanism=system, every="1h", block_size="128KiB", initial="thin")
    assert answer.summary()["end"]["memory_bytes"] > 0
    assert got.json == {**plain(answer.summary()), "files": {}}


def test_options_of_a_mechanism(run, stored, trace):
    system = ss.mechanism("zfs").with_options(raidz_width=6, raidz_parity=2, refreservation=True)
    got = run(
        "simulate", stored, *RULES, "--mechanism", "zfs", "--option", "raidz-width=6",
        "--option", "raidz_parity=2", "--option", "refreservation=true", "--json",
    )  # fmt: skip
    assert got.status == 0, got.err
    assert got.json == {**plain(expected(trace, mechanism=system).summary()), "files": {}}


def test_a_mechanism_of_ones_own(run, stored, tmp_path):
    from importlib import resources

    path = tmp_path / "mine.toml"
    text = (resources.files("snapsim.mechanisms") / "wafl.toml").read_text()
    path.write_text(text.replace('name = "wafl"', 'name = "mine"'))
    assert run("simulate", stored, *RULES, "--mechanism", path, "--json").json["mechanism"] == "mine"


def test_a_map_of_what_existed(run, stored, trace, tmp_path):
    extents = [
        {"start": 0, "length": 4 << 20, "depth": 0, "present": True, "zero": False, "data": True},
        {"start": 4 << 20, "length": 12 << 20, "depth": 0, "present": False, "zero": True, "data": False},
    ]
    path = tmp_path / "map.json"
    path.write_text(json.dumps(extents))
    got = run("simulate", stored, *RULES, "--initial", path, "--json")
    assert got.json["peak"] == expected(trace, initial=[(0, 4 << 20)]).peak


def test_files_are_written_whole(run, stored, trace, tmp_path):
    page, table = tmp_path / "answer.html", tmp_path / "growth.csv"
    got = run("simulate", stored, *RULES, "--report", page, "--csv", table)
    assert got.status == 0, got.err
    assert str(page) in got.out
    assert str(table) in got.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.html", "growth.csv"]
    assert page.read_text().startswith("<!DOCTYPE html>")
    frame = pd.read_csv(table, parse_dates=["time"])
    answer = expected(trace).frame
    assert list(frame.columns) == list(answer.columns)
    for name in answer.columns:
        assert (frame[name].to_numpy() == answer[name].to_numpy()).all(), name


def test_json_names_the_files(run, stored, tmp_path):
    got = run("simulate", stored, *RULES, "--csv", tmp_path / "growth.csv", "--json")
    assert got.json["files"] == {"csv": str(tmp_path / "growth.csv")}


def test_a_table_that_fails_half_way_is_not_there(run, stored, tmp_path, monkeypatch):
    table = tmp_path / "growth.csv"
    table.write_text("what was there before")

    def torn(self, path, **_options):
        path.write_text("time,snap")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", torn)
    got = run("simulate", stored, *RULES, "--csv", table)
    assert got.status == 130
    assert got.err == "snapsim: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["growth.csv"]
    assert table.read_text() == "what was there before"


def test_several_volumes_need_a_choice(run, refused, two_volumes):
    message = refused("simulate", two_volumes, *RULES, status=2)
    assert "--volume NAME" in message
    assert "--group" in message
    assert "data" in message
    assert run("simulate", two_volumes, *RULES, "--volume", "log", "--json").json["members"] == {}


def test_a_group_is_the_sum_on_one_clock(run, two_volumes, trace):
    whole = ss.read_trace(two_volumes)
    counted = {
        name: ss.count_lifetimes(whole.select(volume=name), schedules=[POLICY], block_size="64KiB")
        for name in whole.volumes
    }
    instants = next(iter(counted.values())).instants
    answer = ss.growth(counted, POLICY.timeline(instants), mechanism="qcow2-external")
    got = run("simulate", two_volumes, *RULES, "--group", "--json").json
    assert got == {**plain(answer.summary()), "files": {}}
    assert set(got["members"]) == {"log", "data"}
    assert got["peak"]["snapshot_bytes"] <= sum(
        one["peak"]["snapshot_bytes"] for one in got["members"].values()
    )


def test_several_traces_are_a_group(run, refused, stored, two_volumes, tmp_path):
    got = run("simulate", stored, two_volumes, *RULES, "--json")
    assert got.status == 0, got.err
    assert set(got.json["members"]) == {"small", "machine/log", "machine/data"}
    other = tmp_path / "small.parquet"
    other.write_bytes(stored.read_bytes())
    names = set(run("simulate", stored, other, *RULES, "--json").json["members"])
    assert len(names) == 2
    assert "small" in names
    assert "twice" in refused("simulate", stored, stored, *RULES, status=2)


def test_a_report_of_a_group(run, two_volumes, tmp_path):
    page = tmp_path / "group.html"
    assert run("simulate", two_volumes, *RULES, "--group", "--report", page).status == 0
    assert page.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--policy FILE"),
        (("--keep-last", "3"), "--schedule"),
        (("--schedule", "1h"), "--keep-last 3"),
        (("--schedule", "@hourli", "--keep-last", "3"), "did you mean '@hourly'?"),
        (("--schedule", "1h", "--keep-within", "3x"), "--keep-within"),
        (("--schedule", "1h", "--keep-last=-1"), "--keep-last is -1"),
        (("--schedule", "1h", "--keep-last", "few"), "a whole number"),
        (("--schedule", "1h", "--keep-lst", "3"), "Did you mean --keep-last?"),
        (("--schedule", "1h", "--keep-last", "3", "--timezone", "Berlin"), "Europe/Berlin"),
        (("--schedule", "1h", "--keep-last", "3", "--memory", "full"), "ram is missing"),
        ((*RULES, "--policy-name", "x"), "--policy-name needs --policy"),
        ((*RULES, "--policy", "gfs"), "both given"),
        (("--policy", "gf"), "did you mean 'gfs'?"),
        (("--policy", "nowhere.toml"), "does not exist"),
        ((*RULES, "--mechanism", "qcow2-extenal"), "did you mean 'qcow2-external'?"),
        ((*RULES, "--mechanism", "nowhere.toml"), "cannot be read"),
        ((*RULES, "--option", "refcount=1"), "its options are block_size, refcount_bits"),
        ((*RULES, "--option", "refcount_bits"), "name=value"),
        ((*RULES, "--block-size", "3000"), "power of two"),
        ((*RULES, "--block-size", "large"), "size 'large'"),
        ((*RULES, "--block-size", "4KiB", "--option", "block-size=4KiB"), "both given"),
        ((*RULES, "--initial", "thik"), "thick, thin, read-first"),
        ((*RULES, "--every", "0s"), "--every: an interval"),
        ((*RULES, "--every", "1x"), "--every: duration"),
        (("--schedule", "15min", "--keep-last", "3", "--every", "1h"), "without --every"),
        (("--schedule", "1ns", "--keep-last", "3"), "choose a longer interval"),
        (("--schedule", "1h", "--keep-last", "3", "--every", "1us"), "choose a longer interval"),
        ((*RULES, "--report", "/nowhere/page.html"), "there is no folder /nowhere"),
        ((*RULES, "--csv", "."), "is a folder"),
        ((*RULES, "--csv", "/dev/null"), "is no file but a device"),
        ((*RULES, "--report", "/dev/null"), "is no file but a device"),
    ],
)
def test_mistakes_are_told_in_one_line(refused, stored, arguments, says):
    assert says in refused("simulate", stored, *arguments, status=2)


def test_mistakes_are_told_before_a_trace_is_read(refused, tmp_path):
    nothing = tmp_path / "nothing.csv"
    assert "qcow2-external" in refused("simulate", nothing, *RULES, "--mechanism", "qcow", status=2)
    assert "No such file" in refused("simulate", nothing, *RULES, status=3)


def test_a_mistyped_key_in_a_policy_file(refused, stored, policy_file):
    policy_file.write_text('[policy.short]\nschedule = "1h"\nkeep_hourli = 3\n')
    message = refused("simulate", stored, "--policy", policy_file, status=2)
    assert message == "policies.toml, line 3: unknown key 'keep_hourli': did you mean 'keep_hourly'?"


def test_a_trace_that_looks_misread_is_warned_of(run, msr):
    got = run("simulate", msr, "--schedule", "10min", "--keep-last", "3", "--address-unit", "4GiB")
    assert got.status == 0, got.err
    assert got.err.startswith(f"snapsim: warning: {msr}: ")
    assert "--address-unit" in got.err
    assert not run("simulate", msr, "--schedule", "10min", "--keep-last", "3").err


def test_a_schedule_longer_than_the_trace_still_gives_an_answer(run, msr):
    got = run("simulate", msr, "--schedule", "@yearly", "--keep-last", "3", "--json").json
    assert got["end"]["snapshots"] == 2
    assert not got["coverage"]["steady"]


@pytest.mark.parametrize(
    ("path", "volume"),
    [("msr/rsrch_1.csv", None), ("msr/wdev_1.csv", None), ("hp/ajw.1week.srt", "0x08000008")],
)
def test_one_week_of_a_public_trace(run, public_traces, path, volume):
    chosen = () if volume is None else ("--volume", volume)
    got = run("simulate", public_traces / path, *RULES, *chosen, "--json")
    assert got.status == 0, got.err
    trace = ss.read_trace(public_traces / path, volume=volume)
    assert got.json["peak"] == expected(trace).peak
    assert np.isfinite(got.json["coverage"]["trace_span_ns"])


CLASSES = """
[policy.vm]
[policy.vm.class.hourly]
schedule = "@hourly"
keep = 6
quiet = "30min"
[policy.vm.class.upgrade]
events = ["apt"]
keep = 3
"""


def test_a_policy_acts_on_writes_events_and_downtime(run, trace, stored, policy_file):
    policy_file.write_text(CLASSES)
    start = pd.Timestamp(trace.start_ns, unit="ns", tz="UTC").floor("h")
    down = f"{(start + pd.Timedelta('2h1min')).isoformat()}/{(start + pd.Timedelta('3h30min')).isoformat()}"
    event = f"apt={(start + pd.Timedelta('4h7min')).isoformat()}"
    got = run("simulate", stored, "--policy", policy_file, "--event", event, "--down", down, "--json").json
    policy = ss.Policy.from_toml(policy_file)
    counted = ss.count_lifetimes(trace, every="5min", block_size="64KiB")
    timeline = ss.run_policy(
        policy,
        counted,
        events=[Event("apt", (start + pd.Timedelta("4h7min")).value)],
        downtimes=[((start + pd.Timedelta("2h1min")).value, (start + pd.Timedelta("3h30min")).value)],
    )
    answer = ss.growth(counted, timeline, mechanism="qcow2-external")
    assert got["peak"] == plain(answer.peak)
    assert any("moved to a quieter instant" in finding for finding in got["findings"])


def test_rules_about_space_act_on_a_pool(run, stored, policy_file):
    policy_file.write_text(
        '[policy.small]\nschedule = "@hourly"\nkeep_last = 20\n'
        "[policy.small.space]\nsnapshots_max = 0.0001\nsoft = { keep_last = 1 }\n"
    )
    free = run("simulate", stored, "--policy", policy_file, "--json").json
    small = run("simulate", stored, "--policy", policy_file, "--pool-size", "1GiB", "--json").json
    assert small["end"]["snapshots"] < free["end"]["snapshots"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--event", "apt"), "write NAME=TIME"),
        (("--event", "apt=then"), "--event: time 'then' cannot be read"),
        (("--event", "apt=2026-01-31T12:00"), "has no time zone"),
        (("--down", "2026-01-31T12:00Z"), "write START/STOP"),
        (("--pool-size", "big"), "--pool-size: size 'big'"),
        (("--pool-size", "1GiB"), "no table space"),
        (("--event", "apt=2026-01-31T12:00Z"), "no classes that could act on it"),
    ],
)
def test_mistakes_about_what_happens(refused, stored, arguments, says):
    assert says in refused("simulate", stored, *RULES, *arguments, status=2)
