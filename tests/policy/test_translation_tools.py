"""Configurations of snapshot tools: read, decided, and written back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.translation.common import differences, export_policy, import_policy
from tests.differential.oracles import btrbk, sanoid, snapper, zfs_autobackup, znapzend, zrepl
from tests.policy import test_compat_btrbk, test_compat_sanoid, test_compat_snapper, test_compat_zfs
from tests.policy.tool_cases import SECOND, survivors

SEEDS = range(60)


def equivalent(policy, again):
    assert again.rules == policy.rules
    assert again.semantics == policy.semantics
    assert (again.calendar, again.protect, again.select, again.space) == (
        policy.calendar, policy.protect, policy.select, policy.space,
    )  # fmt: skip


def there_and_back(text, tool, timezone=None):
    """Read, write and read again; return the policy."""
    policy = import_policy(text, tool, timezone=timezone).policy
    written = export_policy(policy, tool)
    again = import_policy(written, tool, timezone=timezone).policy
    equivalent(policy, again)
    assert export_policy(again, tool) == written
    return policy


def test_sanoid_decides_as_its_configuration_says():
    for seed in SEEDS:
        snapshots, settings, now = test_compat_sanoid.case(seed)
        text = "[tank/vm]\nuse_template = vm  # ours\nrecursive = yes\n[template_vm]\n"
        text += "".join(f"\t{key} = {value}\n" for key, value in settings.items())
        expected = sanoid.kept(snapshots, settings, now_ns=now * SECOND)
        assert survivors(there_and_back(text, "sanoid"), snapshots, now) == expected


def test_snapper_decides_as_its_configuration_says():
    for seed in SEEDS:
        snapshots, settings, now, timezone = test_compat_snapper.case(seed)
        if seed % 3 == 0:
            settings["NUMBER_CLEANUP"] = "no"
        text = "".join(f'{key}="{value}"\n' for key, value in settings.items())
        expected = snapper.kept(snapshots, settings, now_ns=now * SECOND, timezone=timezone)
        if all(settings[key] == "0" for key in settings if "TIMELINE_LIMIT" in key) and seed % 3 == 0:
            continue  # nothing would stay
        assert survivors(there_and_back(text, "snapper", timezone), snapshots, now) == expected


def test_btrbk_decides_as_its_configuration_says():
    for seed in SEEDS:
        snapshots, _, settings, now, timezone = test_compat_btrbk.case(seed)
        if settings["snapshot_preserve_min"].startswith("0"):
            continue  # which btrbk refuses
        text = "".join(f"{key}  {value}\n" for key, value in settings.items())
        text += "volume /mnt/pool\n  subvolume home\n    target /backup\n      target_preserve no\n"
        expected = btrbk.kept(snapshots, settings, now_ns=now * SECOND, timezone=timezone)
        assert survivors(there_and_back(text, "btrbk", timezone), snapshots, now) == expected


def yaml(rules):
    lines = ["jobs:", "- type: push", "  pruning:", "    keep_sender:"]
    for rule in rules:
        texts = [f"{key}: {str(value).lower() if value in (True, False) else repr(value)}".replace("'", '"')
                 if key != "type" else f"type: {value}" for key, value in rule.items()]  # fmt: skip
        lines += [("    - " if place == 0 else "      ") + text for place, text in enumerate(texts)]
    return "\n".join([*lines, "    keep_receiver:", "    - type: last_n", "      count: 9"])


def test_zrepl_decides_as_its_configuration_says():
    for seed in SEEDS:
        snapshots, rules, now = test_compat_zfs.zrepl_case(seed)
        for rule in rules:
            if rule["type"] == "not_replicated":
                rule.pop("regex", None)
        expected = zrepl.kept(snapshots, {"keep": rules}, now_ns=now * SECOND)
        policy = there_and_back(yaml(rules).replace('count: "', "count: "), "zrepl")
        assert survivors(policy, snapshots, now) == expected


def test_plans_decide_as_they_say():
    for seed in SEEDS:
        snapshots, now = test_compat_zfs.with_bases(random.Random(seed))
        snapshots = test_compat_zfs.in_order(snapshots)
        for plan in test_compat_zfs.PLANS:
            policy = there_and_back(f"enabled=on\nsrc_plan={plan}\n", "znapzend", "Asia/Kolkata")
            expected = znapzend.kept(snapshots, {"plan": plan}, now_ns=now * SECOND, timezone="Asia/Kolkata")
            assert survivors(policy, snapshots, now) == expected
        for thinner in test_compat_zfs.THINNERS:
            policy = there_and_back(f"--verbose --keep-source {thinner}", "zfs-autobackup")
            expected = zfs_autobackup.kept(snapshots, {"thinner": thinner}, now_ns=now * SECOND)
            assert survivors(policy, snapshots, now) == expected


counts = st.integers(0, 400)
named = ("hourly", "daily", "weekly", "monthly", "yearly")


@given(st.fixed_dictionaries({f"keep_{one}": counts for one in named}), st.integers(1, 5), st.data())
def test_what_is_written_is_read_as_the_same_policy(short, one, data):
    zone = data.draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    policies = [
        Policy(compat="sanoid", keep_minutely=one, plan=f"{5 * one}min", name="tank/a", **short),
        Policy(compat="snapper", keep_last=one, keep_quarterly=one, min_age="1h", timezone=zone, **short),
        Policy(
            compat="btrbk", keep_last=data.draw(st.sampled_from([1, "unlimited"])), timezone=zone, **short
        ),
        Policy(compat="btrbk", plan=f"{one}d", week_start="tuesday", day_start=f"0{one}:00", **short),
        Policy(
            compat="zrepl", grid={"spec": f"{one}x5min(keep=all) | 4x{one}h", "select": {"name": "^a\\d"}}
        ),
        Policy(
            compat="zrepl", keep=[{"name": "x", "count": one}, {"select": {"name": "\"'", "exclude": True}}]
        ),
    ]
    for policy in policies:
        timezone = None if policy.compat in {"sanoid", "zrepl"} else policy.timezone
        again = import_policy(
            export_policy(policy, policy.compat), policy.compat, name=policy.name, timezone=timezone
        ).policy
        assert [str(rule.select) for rule in again.rules] == [str(rule.select) for rule in policy.rules]
        assert [rule.count for rule in again.rules] == [rule.count for rule in policy.rules]
        assert [rule.back for rule in again.rules] == [rule.back for rule in policy.rules]
        assert (again.semantics, again.calendar) == (policy.semantics, policy.calendar)


def test_space_of_snapper_is_read_and_written():
    text = 'NUMBER_LIMIT="2-50"\nTIMELINE_LIMIT_DAILY="3-10"\n'
    text += 'QGROUP="1/0"\nSPACE_LIMIT="0.4"\nFREE_LIMIT="0.1"\n'
    policy = there_and_back(text, "snapper")
    assert dict(policy.space.soft) == {"keep_last": 2, "keep_daily": 3}
    assert (policy.space.snapshots_max, policy.space.free_min) == (0.4, 0.1)


def test_of_sanoid_a_pool_with_space_defers_pruning():
    policy = there_and_back("[a]\ndaily = 1\nprune_defer = 60\n", "sanoid")
    assert policy.space.prune_defer_below == 0.61  # sanoid leaves out the fraction of the percentage


def test_of_several_the_name_chooses():
    text = "[a]\ndaily = 1\n[b]\ndaily = 2\n"
    assert import_policy(text, "sanoid", name="b").policy.keep_daily == 2
    with pytest.raises(PolicyError, match=r"several datasets have different rules: name .* one of a, b"):
        import_policy(text, "sanoid")
    text = "volume /a\n  subvolume x\n    snapshot_preserve 2d\n  subvolume y\n    snapshot_preserve 3d\n"
    assert import_policy(text, "btrbk", name="y").policy.keep_daily == 3


def test_everything_stays_where_nothing_is_pruned():
    assert there_and_back("[a]\nautoprune = no\n", "sanoid").keep_daily == "unlimited"
    assert there_and_back("snapshot_preserve 2d\n", "btrbk").keep_last == "unlimited"


def test_what_is_left_aside_is_said():
    assert import_policy("[a]\nautosnap = yes\ndaily = 1", "sanoid").notes == (
        "autosnap is not about what stays",
    )
    notes = import_policy('SUBVOLUME="/"\nNUMBER_LIMIT_IMPORTANT="2-10"', "snapper").notes
    assert "SUBVOLUME is not about what stays" in notes
    assert any(note.startswith("the lower bound 2 of NUMBER_LIMIT_IMPORTANT") for note in notes)


@pytest.mark.parametrize(
    ("tool", "text", "told"),
    [
        ("sanoid", "[a]\ndayly = 7", "line 2: unknown key 'dayly'"),
        ("sanoid", "daily = 7", r"line 1: daily stands before the first \[dataset\]"),
        ("sanoid", "[a]\ndaily = x", "line 2: daily is 'x': give a whole number"),
        ("sanoid", "[a]\nuse_template = b", r"\[a\] uses the template 'b': add \[template_b\]"),
        ("snapper", 'TIMELINE_LIMIT_DAILY="a"', "line 1: TIMELINE_LIMIT_DAILY is 'a': give a number"),
        ("snapper", 'TIMELINE_LIMIT_DAYLY="7"', "line 1: .* did you mean 'TIMELINE_LIMIT_DAILY'"),
        ("snapper", "daily", 'line 1: \'daily\' is not KEY="value"'),
        ("btrbk", "snapshot_preserve 7x", "line 1: snapshot_preserve is '7x': give \"no\", or distances"),
        ("btrbk", "snapshot_preserv 7d", "line 1: .*: did you mean 'snapshot_preserve'"),
        ("zrepl", "- type: grit", "line 1: type is 'grit': give one of grid, last_n"),
        ("zrepl", "- type: last_n\n  count: 0", "line 1: count is 0"),
        ("zrepl", "- type: grid\n  grid: 1x1h\n- type: grid\n  grid: 2x1h", "line 3: a second grid"),
        ("zrepl", "- type: grid\n  grit: 1x1h", "line 1: unknown key 'grit': grid has grid, regex"),
        ("zrepl", '- type: regex\n  regex: "a', 'line 2: regex is "a: its quotes do not match'),
        ("znapzend", "7 days", 'there is no plan: give one such as "7d=>1h,30d=>4h"'),
        ("znapzend", "7d=>1q", "plan: "),
        ("zfs-autobackup", "10, 1d1w", "cannot be read: give text such as 10,1d1w"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_place(tool, text, told):
    with pytest.raises(PolicyError, match=told):
        import_policy(text, tool)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(compat="sanoid", keep_daily=7, keep_hourly="unlimited"), '"unlimited" cannot be said'),
        (Policy(compat="snapper", keep_daily="unlimited"), 'keep_daily is "unlimited", and no limit is'),
        (Policy(compat="snapper", keep=[{"name": "odd", "within": "2d"}]), "keep rule odd cannot be said"),
        (Policy(compat="btrbk", keep_daily=7), "keep_last is 0, and btrbk always keeps the latest"),
        (Policy(compat="btrbk", keep_last=1, plan="2d"), "keep_last and plan are both given"),
        (Policy(compat="zrepl", keep=[{"name": "odd", "within": "2d"}]), "keep rule odd cannot be said"),
        (Policy(compat="zrepl", grid={"spec": "4x1h30min"}), "grid has the length 1h30min: write a whole"),
        (Policy(compat="zrepl", keep_daily=3), "keep_daily cannot be said"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told(policy, told):
    with pytest.raises(PolicyError, match=told):
        export_policy(policy, policy.compat)
    assert any(told in one for one in differences(policy, policy.compat))


@pytest.mark.parametrize("tool", ["sanoid", "snapper", "btrbk", "zrepl", "znapzend", "zfs-autobackup"])
def test_other_policies_are_refused_with_what_differs(tool):
    with pytest.raises(PolicyError, match="cannot express this policy: "):
        export_policy(Policy(keep_daily=7, keep_within="2d", timezone="Europe/Berlin"), tool)


def test_zrepl_jobs_that_only_take_snapshots_say_keep():
    job = ["- type: snap", "  pruning:", "    keep:", "    - type: last_n", "      count: {}"]
    read = import_policy("\n".join(["jobs:", *job, *job]).format(7, 8), "zrepl")
    assert [rule.count for rule in read.policy.rules] == [7]
    assert read.notes == ("keep of another job is a policy of its own",)
