"""`snapsim policy check | explain | calendar | compare | migrate | schema`."""

import json
import signal
import time

import pytest

from snapsim.policy.files import json_schema
from tests.cli.conftest import spawn

NOW = "2026-03-01T12:00"
LISTING = """time,name,tags
2026-02-20T03:00:00Z,a,
2026-02-27T03:00:00Z,b,hold
2026-02-28T03:00:00Z,c,
2026-03-01T03:00:00Z,d,
"""


@pytest.fixture
def listing(tmp_path):
    path = tmp_path / "exists.csv"
    path.write_text(LISTING)
    return path


@pytest.fixture
def policies(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        '[policy.old]\nschedule = "@daily"\nkeep_last = 3\n'
        '[policy.new]\nschedule = "@daily"\nkeep_last = 5\nlimits = { chain_max = 4 }\n'
    )
    return path


def test_explain_is_what_decide_says(run, listing):
    got = run("policy", "explain", "last-3", "--snapshots", listing, "--now", NOW)
    assert got.status == 0
    assert "of 4 snapshots 3 stay and 1 goes" in got.out
    told = run("policy", "explain", "last-3", "--snapshots", listing, "--now", NOW, "--json").json
    assert [(one["name"], one["keep"], one["letters"]) for one in told["snapshots"]] == [
        ("a", False, ""),
        ("b", True, "l"),
        ("c", True, "l"),
        ("d", True, "l"),
    ]
    assert told["fingerprint"] in got.out
    assert told["snapshots"][0]["reasons"] == [
        "last: 3 of 3 newer snapshots kept (a count of 4 would keep it)"
    ]


def test_explain_can_show_a_calendar(run, listing):
    got = run("policy", "explain", "gfs", "--snapshots", listing, "--now", NOW, "--calendar")
    assert "2026-02-23  .   .   .   .   d   dm  dwm\n" in got.out


def test_explain_refuses_what_it_cannot_read(refused, listing, tmp_path):
    assert "No such file" in refused("policy", "explain", "gfs", "--snapshots", tmp_path / "no", status=2)
    wrong = refused("policy", "explain", "gfs", "--snapshots", listing, "--tool", "resti", status=2)
    assert "did you mean 'restic'?" in wrong
    assert "snapshots" in refused("policy", "explain", "gfs", status=2)


def test_one_policy_of_a_file(run, refused, policies, listing):
    got = run("policy", "explain", f"{policies}:new", "--snapshots", listing, "--now", NOW)
    assert "new: @daily, keep last 5" in got.out
    assert "there are 2 policies" in refused("policy", "check", policies, status=2)
    assert "there is no policy 'none'" in refused("policy", "check", f"{policies}:none", status=2)


def test_a_calendar_of_what_is_kept(run, refused, tmp_path):
    arguments = ("policy", "calendar", "last-3", "--start", "2026-03-02", "--days", "10")
    got = run(*arguments)
    assert got.out.splitlines()[-2:] == ["2026-03-09  .   l   l   l   .   .   .", "rules: l last"]
    told = run(*arguments, "--json").json
    assert [one["letters"] for one in told["kept"]] == ["l", "l", "l"]
    picture = tmp_path / "calendar.svg"
    assert run(*arguments, "--figure", picture).out.endswith(f"figure: {picture}\n")
    assert picture.read_text().startswith("<?xml")
    assert "give a number above 0" in refused("policy", "calendar", "gfs", "--days", "0", status=2)


def test_a_policy_without_a_schedule_gets_one(run, refused, tmp_path):
    path = tmp_path / "hand.toml"
    path.write_text("keep_last = 2\n")
    assert "--schedule @daily" in refused("policy", "calendar", path, status=2)
    got = run("policy", "calendar", path, "--schedule", "@daily", "--start", "2026-03-02", "--days", "3")
    assert "then it holds 2" in got.out
    assert "has a schedule itself" in refused("policy", "calendar", "gfs", "--schedule", "@daily", status=2)
    assert "not known: the policy has no schedule" in run("policy", "check", path).out


def test_check_says_what_is_odd(run, policies):
    got = run("policy", "check", f"{policies}:new")
    assert got.status == 0
    assert "snapshots       5 in the steady state" in got.out
    assert "steady after    4d" in got.out
    assert "odd             limits: rules keep up to 5 snapshots, above chain_max 4" in got.out
    told = run("policy", "check", f"{policies}:new", "--json").json
    assert (told["fewest"], told["most"], len(told["findings"])) == (5, 5, 1)
    assert run("policy", "check", "gfs", "--json").json["findings"] == []


@pytest.mark.parametrize("looks", ['quiet = "30min"', 'min_written = "1MiB"', "on_change = true"])
def test_what_is_written_is_not_known_without_a_trace(run, tmp_path, looks):
    path = tmp_path / "vm.toml"
    path.write_text(f'[classes.daily]\nschedule = "@daily"\nkeep = 3\n{looks}\n')
    for words in (["check", path], ["calendar", path], ["compare", path], ["migrate", path, path]):
        got = run("policy", *words)
        assert got.status == 0
        assert got.err.startswith("snapsim: warning: daily: what is written is not known here")
    assert "3 in the steady state" in run("policy", "check", path).out


def test_check_refuses_a_contradiction(refused, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('keep_last = 3\noldest = "each_rule"\ncombine = "claim"\n')
    assert "wrong.toml, line 2: oldest is 'each_rule'" in refused("policy", "check", path, status=2)


def test_policies_are_compared(run, policies):
    arguments = ("policy", "compare", f"{policies}:old", f"{policies}:new", "--start", "2026-01-01")
    got = run(*arguments)
    assert "only new: 2 (" in got.out
    assert "only old: 0" in got.out
    assert "steady after           2d   4d" in got.out
    told = run(*arguments, "--json").json
    assert told["policies"]["new"]["only_here"] == 2
    assert told["space"] is None


def test_what_if_and_applied_once(run, tmp_path):
    picture = tmp_path / "ladders.png"
    got = run(
        "policy", "compare", "gfs", "--what-if", "drop monthly", "--once", "--start", "2026-01-01",
        "--days", "90", "--figure", picture,
    )  # fmt: skip
    assert got.status == 0
    assert "drop monthly: gfs, drop monthly: @daily, keep daily 7, weekly 4 (UTC)" in got.out
    assert got.out.count("the same at") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_one_policy_is_compared_with_itself_applied_once(run, tmp_path):
    path = tmp_path / "pve.toml"
    path.write_text(
        'compat = "proxmox"\nschedule = "@daily"\nkeep_daily = 7\nkeep_weekly = 4\nkeep_monthly = 3\n'
    )
    told = run("policy", "compare", path, "--start", "2026-01-01", "--days", "300", "--json").json
    assert any(row["only_iterated"] for row in told["applied_once"]["pve"])


def test_policies_are_compared_with_space(run, stored):
    told = run(
        "policy", "compare", "hourly-day", "--what-if", "halve hourly", "--trace", stored, "--mechanism",
        "dm-thin", "--json",
    ).json  # fmt: skip
    names = [row["policy"] for row in told["space"]]
    assert names == ["hourly-day", "halve hourly", "keep everything"]
    held = [row["snapshot_end_bytes"] for row in told["space"]]
    assert held[1] < held[0] < held[2]
    assert told["space"][0]["clairvoyant_bytes"] <= held[0]


def test_comparisons_that_make_no_sense(refused):
    assert "given twice" in refused("policy", "compare", "gfs", "gfs", status=2)
    assert "no rule 'foo'" in refused("policy", "compare", "gfs", "--what-if", "drop foo", status=2)
    assert "leave --days out" in refused("policy", "compare", "gfs", "--trace", "x", "--days", "3", status=2)
    assert "--every" in refused("policy", "compare", "gfs", "--every", "1h", status=2)
    assert "millions" in refused("policy", "compare", "frequent", "--days", "99999", status=2)


def test_a_migration_with_and_without_a_listing(run, policies, listing):
    arguments = ("policy", "migrate", f"{policies}:old", f"{policies}:new", "--now", NOW)
    got = run(*arguments)
    assert "of 3 snapshots 3 stay and 0 go" in got.out
    assert "as if the new policy had always run: after 1.5d" in got.out
    back = run("policy", "migrate", f"{policies}:new", f"{policies}:old", "--now", NOW, "--json").json
    assert (back["kept"], back["deleted"], back["lost"], back["same_ns"]) == (3, 2, 2, 0)
    assert len(back["deletes"]) == 2
    listed = run(*arguments, "--snapshots", listing, "--json").json
    assert (listed["kept"], listed["assumed"]) == (4, False)


def test_the_schema(run):
    assert run("policy", "schema").json == json_schema()


def test_help_lists_every_command(run):
    out = run("policy", "--help").out
    for name in ("show", "check", "explain", "calendar", "compare", "migrate", "schema"):
        assert f" {name} " in out


def test_a_comparison_can_be_interrupted():
    with spawn(
        "policy", "compare", "gfs-hourly", "--once", "--start", "2020-01-01", "--days", "2000"
    ) as child:
        time.sleep(4)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert (out, err) == ("", "snapsim: interrupted\n")


def test_json_is_json(run):
    json.loads(run("policy", "compare", "last-3", "--start", "2026-01-01", "--days", "30", "--json").out)
