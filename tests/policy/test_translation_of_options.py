"""Policies in the words of restic, borg, Proxmox, kopia and Velero: read, written, and refused."""

import json
import random
import shlex
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.translation import export_policy, import_policy
from snapsim.types import Snapshot
from snapsim.units import DAY
from tests.differential.oracles import borg, kopia, proxmox, restic, velero
from tests.policy.preset_cases import kept, moment, times

RULES = ("hourly", "daily", "weekly", "monthly", "yearly")
SHORT = {"hourly": "-H", "daily": "-d", "weekly": "-w", "monthly": "-m", "yearly": "-y"}


def read(text, tool, **more):
    return import_policy(text, tool, **more).policy


def meaning(policy):
    """Return what a policy decides by; lengths may be written in several ways."""
    rules = [
        replace(one, window=one.window and (one.window.months, one.window.duration_ns))
        for one in policy.rules
    ]
    return rules, policy.compat, policy.group_by, policy.select, policy.protect, policy.timezone


def again(text, tool, **more):
    """Read, write, read: the policy means the same; so are the words the second time."""
    policy = read(text, tool, **more)
    written = export_policy(policy, tool)
    assert meaning(read(written, tool, **more)) == meaning(policy)
    assert export_policy(read(written, tool, **more), tool) == written
    return policy


def histories(seed):
    chance = random.Random(seed)
    listed = [
        Snapshot(time_ns, id=str(n), tags=frozenset(tag for tag in "ab" if chance.random() < 0.3))
        for n, time_ns in enumerate(times(chance))
    ]
    return listed, moment(chance, [one.time_ns for one in listed])


seeds = st.integers(0, 10**6)


@st.composite
def options(draw, rules, values, short=SHORT):
    """Return settings, and the same as a command line in one of its forms."""
    chosen = draw(st.dictionaries(st.sampled_from(rules), values, min_size=1))
    words = []
    for rule, value in chosen.items():
        form = draw(
            st.sampled_from(["--keep-{}={}", "--keep-{} {}", *(["{} {}", "{}{}"] if rule in short else [])])
        )
        words.append(form.format(rule if form.startswith("--") else short.get(rule), value))
    return chosen, " ".join(draw(st.permutations(words)))


numbers = st.integers(0, 12)


@pytest.mark.parametrize("tool", ["restic", "restic-0.14"])
@given(st.data(), seeds)
def test_restic(tool, data, seed):
    unlimited = st.just("unlimited") if tool == "restic" else st.just(-1)
    chosen, line = data.draw(options(("last", *RULES), numbers | unlimited, {**SHORT, "last": "-l"}))
    within = data.draw(
        st.dictionaries(
            st.sampled_from(["within", *(f"within-{rule}" for rule in RULES)]),
            st.sampled_from(["26h", "7d", "1m", "1y5m7d2h", "1d2d", "14d"]),
        )
    )
    tags = data.draw(st.lists(st.sampled_from([["a"], ["a", "b"], [""]]), max_size=2, unique_by=tuple))
    line += "".join(f" --keep-{rule} {value}" for rule, value in within.items())
    line += "".join(f" --keep-tag {','.join(one) or repr('')}" for one in tags)
    settings = {f"keep_{rule.replace('-', '_')}": value for rule, value in (chosen | within).items()}
    assume(any(value not in {0, -1} for value in settings.values()) or tags)
    policy = again(f"restic forget {line} --prune", tool)
    listed, now_ns = histories(seed)
    oracle = restic.kept if tool == "restic" else restic.kept_0_14
    expected = oracle(listed, {**settings, "keep_tag": tags}, now_ns=now_ns + 1, timezone="UTC")
    assert kept(policy, listed, now_ns) == expected


@given(
    options(("last", "minutely", *RULES), st.integers(-1, 12)),
    st.sampled_from(["", "12H", "2d", "1w", "1m", "1y"]),
    seeds,
)
def test_borg_1_2(chosen_line, within, seed):
    chosen, line = chosen_line
    assume(any(chosen.values()) or within)
    settings = {f"keep_{rule}": value for rule, value in chosen.items()}
    if within:
        settings["keep_within"], line = within, f"{line} --keep-within={within}"
    policy = again(f"borg prune --list {line} /backup/repo", "borg", timezone="Europe/Berlin")
    listed, now_ns = histories(seed)
    assert kept(policy, listed, now_ns) == borg.kept(
        listed, settings, now_ns=now_ns, timezone="Europe/Berlin"
    )


limits = st.integers(0, 12) | st.sampled_from(["90M", "12H", "2d", "1w", "1m", "1y"])


@given(options(("secondly", "13weekly", "3monthly", *RULES), limits), st.none() | limits, seeds)
def test_borg_2(chosen_line, last, seed):
    chosen, line = chosen_line
    settings = {f"keep_{rule}": value for rule, value in chosen.items()}
    if last is not None:
        settings["keep"], line = last, f"--keep {last} {line}"
    listed, now_ns = histories(seed)
    try:
        expected = borg.kept_2(listed, settings, now_ns=now_ns, timezone="UTC")
    except ValueError:
        with pytest.raises(PolicyError, match="borg 2 refuses"):
            read(line, "borg-2")
        return
    assume(any(settings.values()))
    assert kept(again(line, "borg-2"), listed, now_ns) == expected


@given(st.dictionaries(st.sampled_from(("last", *RULES)), numbers, min_size=1),
       st.sampled_from(["{}", "prune-backups {}", "--prune-backups '{}'", "flags"]), seeds)  # fmt: skip
def test_proxmox(chosen, form, seed):
    words = [f"keep-{rule}={value}" for rule, value in chosen.items()]
    line = " ".join(f"--{word}" for word in words) if form == "flags" else form.format(",".join(words))
    policy = again(line, "pbs", timezone="Europe/Berlin")
    listed, now_ns = histories(seed)
    settings = {f"keep_{rule}": value for rule, value in chosen.items()}
    expected = proxmox.kept(listed, settings, now_ns=now_ns, timezone="Europe/Berlin")
    assert kept(policy, listed, now_ns) == expected


@given(st.dictionaries(st.sampled_from(tuple(kopia.KEYS)), numbers), st.booleans(), seeds)
def test_kopia(chosen, as_json, seed):
    assume(chosen)
    if as_json:
        line = json.dumps({"retention": {f"keep{rule.title()}": value for rule, value in chosen.items()}})
    else:
        line = " ".join(f"--keep-{rule} {value}" for rule, value in chosen.items())
    policy = again(line, "kopia")
    listed, now_ns = histories(seed)
    usual = {"latest": 10, "hourly": 48, "daily": 7, "weekly": 4, "monthly": 24, "annual": 3}
    settings = {f"keep_{rule}": value for rule, value in (usual | chosen).items()}
    assert kept(policy, listed, now_ns) == kopia.kept(listed, settings, now_ns=now_ns, timezone="UTC")


@given(st.integers(0, 10**7), st.sampled_from(["{}", "--ttl {}", "ttl: {}"]), seeds)
def test_velero(life, form, seed):
    text = f"{life // 3600}h{life // 60 % 60}m{life % 60}s"
    policy = again(form.format(text), "velero")
    listed, now_ns = histories(seed)
    assert kept(policy, listed, now_ns) == velero.kept(listed, {"ttl": text}, now_ns=now_ns, timezone="UTC")


def test_whole_lines_and_files():
    line = (
        "sudo restic -r /srv/repo forget \\\n  --host web --host db -d7 -g host --tag a,b --prune  # nightly"
    )
    policy, notes = import_policy(line, "restic", name="nightly")
    assert policy.keep_daily == 7
    assert policy.group_by == ("host",)
    assert policy.select.tags == ("a", "b")
    assert dict(policy.select.attributes) == {"host": ("web", "db")}
    assert notes == ("-r is left aside", "--prune is left aside")
    again(line, "restic")
    policy = again("borg prune -v ::  -P pc- --keep-daily 7", "borg-1.2")
    assert policy.select.name == "^pc\\-.*$"
    assert shlex.split(export_policy(policy, "borg")) == ["--keep-daily", "7", "-a", "pc-*"]
    assert again("-a 'sh:a.b?*' -d 7", "borg-2").select.name == "^a\\.b..*$"
    stanza = "dir: local\n\tpath /var/lib/vz\n\tcontent backup\n\tprune-backups keep-daily=7,keep-last=3\n"
    policy, notes = import_policy(stanza, "pve")
    assert (policy.keep_daily, policy.keep_last) == (7, 3)
    assert notes == (
        "dir: local is left aside",
        "path /var/lib/vz is left aside",
        "content backup is left aside",
    )
    job = "prune: nightly\n\tschedule daily\n\tstore tank\n\tkeep-last 3\n\tkeep-weekly 2\n"
    assert read(job, "proxmox") == Policy(compat="proxmox", keep_last=3, keep_weekly=2)
    yaml = "kind: Schedule\nspec:\n  schedule: 0 3 * * *\n  template:\n    ttl: 240h0m0s\n"
    policy = read(yaml, "velero")
    assert policy.schedule.texts == ("0 3 * * *",)
    assert policy.expire.ttl == "10d"
    assert import_policy(yaml.replace("    ttl: 240h0m0s\n", ""), "velero").notes == (
        "no ttl: Velero takes 720h",
    )


def test_nothing_goes_where_proxmox_keeps_all():
    assert export_policy(read("keep-all=1", "pbs"), "pbs") == "keep-all=1\n"
    assert read("keep-last=0", "pbs") == read("keep-all=1", "pbs")


@pytest.mark.parametrize(
    ("tool", "text", "message"),
    [
        ("restic", "--keep-dayly 7", "--keep-dayly is no option of restic forget"),
        ("restic", "--keep-daily", "--keep-daily has no value"),
        ("restic", "--keep-daily x", "--keep-daily is 'x': give a whole number"),
        ("restic", "--keep-daily -1", "--keep-daily is -1: restic refuses negative counts, write unlimited"),
        ("restic-0.14", "--keep-daily unlimited", "--keep-daily is 'unlimited': give a whole number"),
        ("restic-0.14", "--keep-daily -1", "without a policy does nothing"),
        ("restic", "--keep-within 1w", "--keep-within is '1w': restic reads years"),
        ("restic", "--prune", "without a policy does nothing"),
        ("restic", "-d 7 latest", "'latest' is no option"),
        ("restic", "-d 7 --group-by user", "'user' is none of host, paths, tags"),
        ("restic", "-d 7 --path /a", "--path cannot be read"),
        ("restic", "-d 7 --tag a --tag b", "--tag is given twice"),
        ("restic", "-d '7", "cannot be read: No closing quotation"),
        ("borg-1.2", "--keep-daily 2d", "--keep-daily is '2d': give a whole number"),
        ("borg-1.2", "--keep-within 5M", "--keep-within is '5M': give a number and one of y, m, w, d, H"),
        ("borg-1.2", "--keep-last 3 --keep-secondly 2", "--keep-last and --keep-secondly are one option"),
        ("borg-1.2", "--keep-daily 3 -d 2", "--keep-daily is given twice"),
        ("borg-1.2", "--keep-daily 0", "without a rule does nothing"),
        ("borg-1.2", "--keep-13weekly 2", "--keep-13weekly is no option"),
        ("borg-1.2", "-d 7 -a 'a[0-9]'", "only \\* and \\? are read"),
        ("borg-1.2", "-d 7 -a 'a*' -P b", "archives are chosen twice"),
        ("borg-2", "-d 7 -a id:12", "only sh: and re: are read"),
        ("borg-2", "-d -1 -w 3", "refuses a number after a rule without limit"),
        ("borg-2", "-d 7d -w 1w", "refuses intervals that do not get longer"),
        ("borg-2", "--keep-within 2d", "--keep-within is no option"),
        ("proxmox", "keep-dayly=7", "keep-dayly is not known"),
        ("proxmox", "keep-daily=7,keep-daily=3", "keep-daily is given twice"),
        ("proxmox", "keep-daily=-1", "keep-daily is '-1': give a whole number, 0 or more"),
        ("proxmox", "keep-daily=7,kep-weekly=3", "'kep-weekly=3' says nothing"),
        ("proxmox", "keep-all=1,keep-daily=7", "keep-all keeps everything"),
        ("proxmox", "content backup", "says nothing about what is kept"),
        ("kopia", "--keep-minutely 3", "--keep-minutely is no option"),
        ("kopia", "--keep-daily 3 --keep-daily 4", "--keep-daily is given twice"),
        ("kopia", "{", "is no JSON"),
        ("kopia", '{"scheduling": {}}', "says nothing about what is kept"),
        ("velero", "10d", "ttl is '10d': Velero reads hours, minutes and seconds"),
        ("velero", "name: x\nspec: y", "says nothing about ttl"),
    ],
)
def test_what_cannot_be_read(tool, text, message):
    with pytest.raises(PolicyError, match=message):
        import_policy(text, tool)


LONG = {"name": "r"}


@pytest.mark.parametrize(
    ("tool", "said", "message"),
    [
        (
            "restic",
            {"keep": [{**LONG, "pick": "oldest", "bucket": "day"}]},
            "'r': it keeps the oldest of a bucket",
        ),
        ("restic", {"keep": [{**LONG, "select": {"class": "x"}}]}, "'r': it is about some snapshots only"),
        (
            "restic",
            {"keep": [{**LONG, "bucket": "day", "keep": 2}]},
            "'r': it keeps more than one of a bucket",
        ),
        ("restic", {"keep": [{**LONG, "bucket": "day", "back": 2}]}, "'r': it counts empty buckets"),
        ("restic", {"keep": [{**LONG, "age": ["1d", "2d"]}]}, "'r': it is about a band of ages"),
        ("restic", {"keep": [{**LONG, "within": "2d", "reference": "now"}]}, "'r': it counts from now"),
        ("restic", {"keep": [{**LONG, "within": "2d", "count": 3}]}, "'r': it has a count and a window"),
        ("restic", {"keep": [{**LONG, "within": "2d", "edge": "closed"}]}, "'r': its window is closed"),
        ("restic", {"keep": [{**LONG, "bucket": "quarter"}]}, "'r': there is no such option for quarter"),
        ("restic", {"keep": [{**LONG, "bucket": {"every": "3d"}}]}, "'r': .* for buckets of a fixed length"),
        (
            "restic",
            {"keep_daily": 3, "keep": [{**LONG, "bucket": "day", "count": 2}]},
            "'r': --keep-daily is said",
        ),
        ("restic", {"keep_within": "90min"}, "--keep-within 90min: its smallest unit is the hour"),
        ("restic", {"keep_daily": 3, "group_by": ["class"]}, "group_by 'class'"),
        ("restic", {"keep_daily": 3, "select": {"name": "a"}}, "select, except by tags and host"),
        ("restic", {"keep_daily": 3, "week_start": "sunday"}, "week_start"),
        ("restic", {"keep_daily": 3, "protect": {"newest": 2}}, "protect"),
        ("restic", {"keep_daily": 3, "archive": [{"target": "tape"}]}, "archive"),
        ("restic", {"keep_daily": 3, "min_age": "1h"}, "min_age cannot be said"),
        ("borg-1.2", {"keep_within": "1mo"}, "--keep-within 1mo: it has no calendar months"),
        ("borg-1.2", {"keep_within": "90min"}, "--keep-within 90min: its smallest unit is H"),
        (
            "borg-1.2",
            {"keep": [{"bucket": "week", "count": 2}, {"bucket": "day", "count": 2}]},
            "order of the rules",
        ),
        ("borg-1.2", {"keep_daily": 3, "select": {"tags": ["a"]}}, "select, except by name"),
        ("borg-1.2", {"keep_daily": 3, "select": {"name": "^a"}}, "select.name '\\^a'"),
        ("borg-1.2", {"keep_daily": 3, "group_by": ["host"]}, "group_by"),
        ("borg-2", {"keep_daily": "unlimited", "keep_weekly": 2}, "refuses a number after"),
        ("proxmox", {"keep": [{**LONG, "bucket": "day"}]}, "keep-daily unlimited"),
        ("proxmox", {"keep": [{**LONG, "within": "2d"}]}, "'r': there is no such option for each"),
        ("kopia", {"keep_daily": 2, "keep": [{**LONG, "count": 2}]}, "kopia cannot express keep:"),
        ("kopia", {"keep_daily": 2, "group_by": ["host"]}, "kopia cannot express group_by:"),
        ("velero", {"keep": [{**LONG, "count": 2}]}, "the rule 'r': it knows one ttl"),
        ("velero", {"expire": {"ttl": "10d", "max_count": 3}}, "max_count"),
        ("velero", {"expire": {"max_count": 3}}, "max_count"),
        ("velero", {"expire": {"ttl": "1500ms"}}, "its smallest unit is the second"),
        ("velero", {"group_by": ["host"]}, "group_by"),
    ],
)
def test_what_cannot_be_written(tool, said, message):
    with pytest.raises(PolicyError, match=f"cannot express.*{message}|{message}"):
        export_policy(Policy(compat=tool, **said), tool)


def test_what_another_tool_decides_otherwise():
    policy = Policy(keep_daily=7, timezone="Europe/Berlin")
    with pytest.raises(PolicyError, match="timezone is 'Europe/Berlin', the tool decides in 'recorded'"):
        export_policy(policy, "restic")
    text = export_policy(policy, "restic", approximate=True)
    assert text.endswith("--keep-daily 7 --group-by ''\n")
    assert all(line.startswith("# not the same: ") for line in text.splitlines()[:-1])
    assert read(text, "restic").keep_daily == 7


def test_rules_in_their_long_form_are_written_like_short_ones():
    keep = [{"bucket": "day", "count": 7}, {"bucket": "month", "within": "400d"}]
    policy = Policy(compat="restic-0.14", keep=keep)
    written = export_policy(policy, "restic-0.14")
    assert written == "--keep-daily 7 --keep-within-monthly 400d --group-by ''\n"
    days = [Snapshot(n * DAY, id=str(n)) for n in range(60)]
    assert kept(policy, days, 60 * DAY) == kept(read(written, "restic-0.14"), days, 60 * DAY)


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("restic", "30 2 * * * RESTIC_REPOSITORY=/srv /usr/bin/restic forget -d 7 --prune"),
        ("restic", "@daily root restic -r /srv forget --keep-daily 7"),
        ("borg-1.2", "0 3 * * * BORG_PASSPHRASE=x borg prune --keep-daily 7 /srv"),
    ],
)
def test_a_line_of_cron(tool, line):
    assert meaning(read(line, tool)) == meaning(read("--keep-daily 7", tool))


def test_a_value_may_be_called_like_a_command():
    assert read("--keep-daily 7 --tag forget -w 4", "restic").keep_daily == 7


def test_words_that_belong_to_nothing_are_refused():
    with pytest.raises(PolicyError, match="'7' is no option"):
        read("7 --keep-daily 7", "restic")


def test_what_borg_fills_in_has_to_be_written_out():
    with pytest.raises(PolicyError, match=r"only \* and \? are read here: write what \{hostname\}"):
        read("--keep-daily 7 -a '{hostname}-*'", "borg-1.2")
