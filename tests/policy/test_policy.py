"""The policy as a value: what it refuses, what it says about itself, and its form in TOML."""

import pickle
import re
import tomllib
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy, preset, presets
from snapsim.policy.compat import KEEP_BUCKETS
from snapsim.types import SnapshotKind
from snapsim.units import DAY, GIB, HOUR, MINUTE

POLICIES = Path(__file__).parents[2] / "data" / "policies"
MONTH = 2_629_746 * 10**9


# ---------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "policy keeps nothing, so that its first prune would delete every snapshot: give it a rule"),
        ({"keep_daily": 0, "keep_last": 0}, "policy keeps nothing"),
        ({"keep_daily": -1}, "keep_daily is -1: a count cannot be negative; write .unlimited. to keep all"),
        ({"keep_daily": 1.0}, "keep_daily is 1.0: give a whole number, 0 to switch the rule off"),
        ({"keep_daily": True}, "keep_daily is True: give a whole number"),
        ({"keep_daily": "all"}, "keep_daily is 'all': give a whole number"),
        ({"keep_daily": None}, "keep_daily is None: give a whole number"),
        ({"keep_within": "0s"}, "keep_within: window '0s' is empty: give a positive duration"),
        ({"keep_within": "0mo"}, "keep_within: window '0mo' is empty"),
        ({"keep_within": 0}, "keep_within: window 0 is empty"),
        ({"keep_within": "7m"}, "keep_within: .* could be minutes or months"),
        ({"keep_within": "soon"}, "keep_within: duration 'soon' cannot be read"),
        ({"keep_within": "20000mo"}, "keep_within: .* longer than a thousand years"),
        ({"keep_last": 1, "timezone": "Mars/Base"}, "timezone 'Mars/Base' is not known"),
        ({"keep_last": 1, "schedule": "@sometimes"}, "schedule '@sometimes' is no calendar name"),
        (
            {"keep_last": 1, "memory": "tape"},
            'memory is \'tape\': a snapshot holds one of "disk", "memory", "full"',
        ),
        ({"keep_last": 1, "memory": "full"}, "ram is missing: full snapshots save the memory of the guest"),
        ({"keep_last": 1, "memory": "full", "ram": "lots"}, "ram: size 'lots' cannot be read"),
        ({"keep_last": 1, "memory": "full", "ram": 0}, "ram is missing"),
        ({"keep_last": 1, "ram": "4GiB"}, "ram is given, but disk snapshots save no memory"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(PolicyError, match=message):
        Policy(**{"schedule": "1h", **given})


def test_frozen_value():
    policy = Policy(schedule="1h", keep_last=2)
    with pytest.raises(FrozenInstanceError):
        policy.keep_last = 3
    same = Policy(schedule="1h", keep_last=np.int64(2))
    assert policy == same
    assert hash(policy) == hash(same)
    assert policy != replace(policy, keep_last=3)
    assert replace(policy, keep_daily=7) == Policy(schedule="1h", keep_last=2, keep_daily=7)
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_kind_and_ram():
    policy = Policy(schedule="1h", keep_last=2, memory="memory", ram="2GiB")
    assert policy.kind is SnapshotKind.MEMORY
    assert policy.ram == 2 * GIB
    assert Policy(schedule="1h", keep_last=2).ram == 0


# ---------------------------------------- what it says


def test_describe_and_repr():
    policy = Policy(
        schedule=["@hourly", "15min"],
        keep_last=1,
        keep_yearly="unlimited",
        keep_within="1mo",
        timezone="Europe/Berlin",
        name="db",
        memory="full",
        ram="4GiB",
    )
    assert policy.describe() == (
        "db: @hourly + 15min, keep last 1, yearly unlimited, within 1mo, "
        "full snapshots with 4 GiB of RAM (Europe/Berlin)"
    )
    assert eval(repr(policy)) == policy
    assert repr(Policy(schedule="1h", keep_last=2)) == "Policy(schedule='1h', keep_last=2)"


@pytest.mark.parametrize(
    ("given", "reach"),
    [
        ({"schedule": "@hourly", "keep_daily": 7}, 7 * DAY),
        ({"schedule": "@hourly", "keep_hourly": 24}, DAY),
        ({"schedule": "15min", "keep_hourly": 24}, DAY),
        ({"schedule": "@hourly", "keep_last": 10}, 10 * HOUR),
        ({"schedule": "15min", "keep_last": 10}, 150 * MINUTE),
        ({"schedule": "30s", "keep_last": 10, "keep_within": "10min"}, 10 * MINUTE),
        ({"schedule": "@daily", "keep_hourly": 24}, 24 * DAY),  # each hour that has a snapshot is a day away
        ({"schedule": "@weekly", "keep_daily": 7, "keep_last": 2}, 49 * DAY),
        ({"schedule": ["@hourly", "@daily"], "keep_last": 24}, DAY),
        ({"schedule": "*/5 9-17 * * 1-5", "keep_hourly": 45}, 7 * DAY),  # nine hours on five days a week
        ({"schedule": "@daily", "keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12}, 12 * MONTH),
        ({"schedule": "@daily", "keep_quarterly": 2}, 6 * MONTH),
        ({"schedule": "@daily", "keep_yearly": 3}, 36 * MONTH),
        ({"schedule": "@yearly", "keep_monthly": 3}, 36 * MONTH),
        ({"schedule": "@daily", "keep_within": "2d"}, 2 * DAY),
        ({"schedule": "@daily", "keep_within": "1y1mo"}, 13 * MONTH),
        ({"schedule": "@daily", "keep_daily": 2, "keep_yearly": "unlimited"}, None),
        ({"schedule": "@daily", "keep_last": "unlimited"}, None),
        (
            {"classes": {"h": {"schedule": "@hourly", "keep": 24}, "d": {"schedule": "@daily", "keep": 7}}},
            7 * DAY,
        ),
        ({"classes": {"d": {"schedule": "@daily", "keep": 7}, "e": {"events": ["e"], "keep": 99}}}, 7 * DAY),
        ({"classes": {"e": {"events": ["e"], "keep": 3}}}, None),
        ({"classes": {"h": {"schedule": "@hourly", "keep": "unlimited"}}}, None),
    ],
)
def test_reach(given, reach):
    assert Policy(**given).reach_ns == (reach if reach is None else pytest.approx(reach, rel=2e-2))


@pytest.mark.parametrize("name", ["gfs-hourly", "hourly-week", "hourly-day", "frequent", "last-3"])
def test_reach_is_where_the_steady_state_ends(name):
    """After a year and a half the oldest snapshot of a timeline is about as old as the policy says."""
    policy = preset(name)
    instants = np.arange(550 * 96 if name == "frequent" else 550 * 24) * (
        15 * MINUTE if name == "frequent" else HOUR
    )
    assert policy.timeline(instants).reach_ns == pytest.approx(policy.reach_ns, rel=0.15)


# ---------------------------------------- presets and bundled files


@pytest.mark.parametrize("name", presets())
def test_presets(name):
    assert preset(name).name == name
    assert preset(name).timezone == "UTC"


def test_unknown_preset():
    with pytest.raises(PolicyError, match="preset 'gsf' does not exist: the presets are last-3, "):
        preset("gsf")


@pytest.mark.parametrize("file", sorted(POLICIES.glob("*.toml")), ids=lambda file: file.name)
def test_bundled_files(file):
    names = list(tomllib.loads(file.read_text())["policy"])
    for name in names:
        policy = Policy.from_toml(file, name=name)
        assert policy.name == name
        assert policy.reach_ns
    assert len(names) > 1 or names == [file.stem]


# ---------------------------------------- TOML

counts = st.integers(0, 10**6) | st.just("unlimited")
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@st.composite
def policies(draw):
    kind = draw(st.sampled_from(SnapshotKind))
    schedule = draw(
        st.lists(
            st.sampled_from(["@daily", "15min", "0 */6 * * 1-5", "1h30min"]),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    return Policy(
        schedule=schedule if len(schedule) > 1 else schedule[0],
        **draw(st.fixed_dictionaries(dict.fromkeys(KEEP_BUCKETS, counts))),
        keep_within=draw(st.sampled_from(["48h", "1mo2d", 90])),
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        name=draw(texts),
        memory=kind,
        ram=None if kind is SnapshotKind.DISK else draw(st.integers(1, 2**40)),
    )


@given(policies())
def test_toml_is_read_back_as_written(policy):
    assert Policy.from_toml(policy.to_toml()) == policy


def test_toml_as_written():
    assert preset("gfs").to_toml() == (
        '[policy.gfs]\nschedule = "@daily"\nkeep_daily = 7\nkeep_weekly = 4\nkeep_monthly = 12\n'
    )
    assert Policy(schedule=["1h", "@daily"], keep_last="unlimited").to_toml() == (
        'schedule = ["1h", "@daily"]\nkeep_last = "unlimited"\n'
    )


def test_file_or_text_named_or_not(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('schedule = "@daily"\nkeep_last = 3\n')
    assert Policy.from_toml(file) == Policy.from_toml(str(file)) == Policy.from_toml(file.read_text())
    file.write_text('name = "x"\n' + file.read_text())
    assert Policy.from_toml(file).name == Policy.from_toml(file, name="x").name == "x"
    two = '[policy.a]\nschedule = "1h"\nkeep_last = 1\n[policy."b c"]\nschedule = "1h"\nkeep_last = 2\n'
    assert Policy.from_toml(two, name="a").keep_last == 1
    assert Policy.from_toml(two, name="b c").name == "b c"
    file.write_text(two.partition('[policy."b')[0], encoding="utf-8-sig")  # as some editors save it
    assert Policy.from_toml(file).name == "a"
    with pytest.raises(PolicyError, match="name is 5"):
        Policy(schedule="1h", keep_last=1, name=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'schedule = "1h"\nkeep_dayly = 7\n',
            "{name}, line 2: unknown key 'keep_dayly': did you mean 'keep_daily'?",
        ),
        (
            'schedule = "1h"\nxyz = 7\n',
            "{name}, line 2: unknown key 'xyz': the keys are schedule, keep_last, ",
        ),
        ("keep_daily = 7\nschedule = 1\n", "{name}, line 2: schedule is 1: give text such as"),
        ('shedule = "1h"\n', "{name}, line 1: unknown key 'shedule': did you mean 'schedule'?"),
        (
            'schedule = "1h"\n\nkeep_daily = "7"\n',
            "{name}, line 3: keep_daily is '7': give a whole number, 0 for none, or",
        ),
        (
            'schedule = "1h"\nkeep_daily = -7\n',
            "{name}, line 2: keep_daily is -7: a count cannot be negative",
        ),
        ('schedule = "1h"\nkeep_daily = 7.0\n', "{name}, line 2: keep_daily is 7.0: give a whole number"),
        ('schedule = "1h"\nkeep_daily = true\n', "{name}, line 2: keep_daily is True: give a whole number"),
        (
            'schedule = ["1h", "@dayly"]\nkeep_last = 1\n',
            "{name}, line 1: schedule '@dayly' is no calendar name",
        ),
        ('schedule = ["1h", 3]\nkeep_last = 1\n', "{name}, line 1: schedule is ['1h', 3]: give text such as"),
        ('schedule = "1h"\nkeep_within = 7\n', "{name}, line 2: keep_within is 7: give text such as"),
        ('schedule = "1h"\nkeep_within = "7"\n', "{name}, line 2: keep_within: duration '7' has no unit"),
        ('schedule = "1h"\nkeep_last = 1\ntimezone = "X"\n', "{name}, line 3: timezone 'X' is not known"),
        (
            'schedule = "1h"\nkeep_last = 1\nmemory = "tape"\n',
            "{name}, line 3: memory is 'tape': give \"disk\"",
        ),
        ('schedule = "1h"\nkeep_last = 1\nmemory = "full"\n', "{name}: ram is missing"),
        ('schedule = "1h"\n', "{name}: policy keeps nothing"),
        ('[policy.a]\nschedule = "1h"\n', "{name}, line 1: policy keeps nothing"),
        (
            '[policy.a]\nschedule = "1h"\nkeep_last = 1\n[policy.b]\nschedule = "1h"\nkeep_lost = 1\n',
            "{name}, line 6: unknown key 'keep_lost': did you mean 'keep_last'?",
        ),
        ('schedule = "1h"\nkeep_last =\n', "{name}: this is no TOML: Invalid value (at line 2"),
        (
            'keep_last = 1\n[policy.b]\nschedule = "1h"\n',
            "{name}, line 1: key 'keep_last' stands outside of the tables",
        ),
        ("[policy]\nkeep_last = 1\n", "{name}: each policy has a table of its own: write [policy.NAME]"),
        ('[policy.b]\nname = "c"\nschedule = "1h"\n', "{name}, line 2: name differs from the table's"),
        ('name = "a"\nschedule = "1h"\nkeep_last = 1\n', "{name}: there is no policy 'b'"),
        (
            '[policy.a]\nschedule = "1h"\nkeep_last = 1\n',
            "{name}: there is no policy 'b': the policies are a",
        ),
    ],
)
def test_errors_say_where_and_what_to_write(text, message, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    name = "b" if "[policy.b]" in text or "there is no policy" in message else None
    for source, called in ((file, "mine.toml"), (text, "policy text")):
        with pytest.raises(PolicyError, match=re.escape(message.format(name=called))):
            Policy.from_toml(source, name=name)


def test_several_policies_without_a_name():
    with pytest.raises(
        PolicyError, match=r"policy text: there are 2 policies \(a, b\): say which one is meant"
    ):
        Policy.from_toml("[policy.a]\n[policy.b]\n")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PolicyError, match=r"policy file .*none\.toml does not exist"):
        Policy.from_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(PolicyError, match=r"policy file .*latin\.toml cannot be read"):
        Policy.from_toml(tmp_path / "latin.toml")
    with pytest.raises(PolicyError, match=r"policy file .* cannot be read"):
        Policy.from_toml(tmp_path)
