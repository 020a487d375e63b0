"""Listings that the real programs write, read back, and decided on as the programs themselves do."""

import json
import os
import random
import re
import shutil
import subprocess
import time
from datetime import datetime

import pytest

from snapsim.policy.listings import parse_listing
from tests.differential.btrfs_mount import btrfs_mount
from tests.differential.forged_restic import RealRestic
from tests.differential.oracles import borg, restic
from tests.differential.random_cases import SECOND, snapshots

pytestmark = pytest.mark.integration

DATES = ["2024-01-01", "2024-01-02", "2024-03-30", "2024-03-31", "2024-04-01", "2024-10-27"]


def run(*command, tz="UTC", **variables):
    environment = {**os.environ, "LC_ALL": "C", "TZ": tz, **variables}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def ns(text):
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


@pytest.mark.needs_program("restic")
def test_restic_reads_back_what_was_forged(tmp_path):
    chance = random.Random(7)
    real = RealRestic(tmp_path)
    scenarios = {f"host-{n}": snapshots(chance) for n in range(20)}
    text, names = real.listing(scenarios, tz="Europe/Berlin")
    written = {(host, s.id): s for host, members in scenarios.items() for s in members}
    listed = parse_listing(text)
    assert len(listed) == len(written) == len(names) > 200
    for s in listed:
        host, identity = names[s.id]
        original = written[host, identity]
        assert (s.time_ns, s.tags, s.attributes["host"]) == (original.time_ns, original.tags, host)
        assert s.attributes["utc_offset_s"] == original.attributes["utc_offset_s"]


@pytest.mark.needs_program("restic")
def test_restic_decides_on_its_listing_as_its_dry_run_does(tmp_path):
    """Snapshots that restic took itself."""
    (tmp_path / "source").mkdir()
    repository = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(tmp_path / "r"), "HOME": str(tmp_path)}
    run("restic", "init", "-q", "--no-cache", **repository)
    for date in DATES:
        command = ["restic", "backup", "-q", "--no-cache", tmp_path / "source", "--time", f"{date} 10:00:00"]
        run(*command, tz="Europe/Berlin", **repository)
    listed = parse_listing(run("restic", "snapshots", "--json", "--no-cache", **repository))
    assert max(s.time_ns for s in listed) == ns("2024-10-27T10:00+01:00")
    command = ["restic", "forget", "--dry-run", "--json", "--no-cache", "--keep-daily=2", "--keep-monthly=3"]
    (group,) = json.loads(run(*command, **repository))
    settings = {"keep_daily": 2, "keep_monthly": 3}
    kept = restic.kept_0_14(listed, settings, now_ns=time.time_ns(), timezone="UTC")
    assert {listed[i].id for i in kept} == {s["id"] for s in group["keep"]}
    assert 0 < len(kept) < len(listed)


@pytest.mark.needs_program("borg")
def test_borg_decides_on_its_listing_as_its_dry_run_does(tmp_path):
    (tmp_path / "source").mkdir()
    known = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_BASE_DIR": str(tmp_path)}
    repository = str(tmp_path / "b")
    run("borg", "init", "-e", "none", repository, **known)
    for date in DATES:
        name = f"{repository}::of {date}"
        run("borg", "create", "--timestamp", f"{date}T10:00:00", name, tmp_path / "source", **known)
    listings = [
        parse_listing(
            run("borg", "list", *form, repository, tz="Europe/Berlin", **known), timezone="Europe/Berlin"
        )
        for form in ([], ["--json"])
    ]
    assert [(s.time_ns, s.name, s.id) for s in listings[0]] == [
        (s.time_ns, s.name, s.id) for s in listings[1]
    ]
    assert [s.time_ns for s in listings[0]] == [ns(f"{date}T10:00Z") for date in DATES]
    command = ["borg", "prune", "--dry-run", "--list", "--keep-daily=2", "--keep-monthly=2", repository]
    words = re.findall(r"Keeping archive \(rule.*?\):\s+(of \S+)", run(*command, tz="Europe/Berlin", **known))
    settings = {"keep_daily": 2, "keep_monthly": 2}
    kept = borg.kept(listings[0], settings, now_ns=time.time_ns(), timezone="Europe/Berlin")
    assert {listings[0][i].name for i in kept} == set(words)
    assert 0 < len(kept) < len(DATES)


@pytest.mark.needs_program("qemu-img")
def test_qemu_img(tmp_path):
    image = str(tmp_path / "disk.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    for form in (["snapshot", "-l"], ["info"], ["info", "--output=json"]):
        assert parse_listing(run("qemu-img", *form, image), tool="qemu-img") == []
    before = time.time_ns()
    for name in ("first one", "second"):
        run("qemu-img", "snapshot", "-c", name, image)
    for form in (
        ["snapshot", "-l"],
        ["info"],
        ["info", "--output=json"],
        ["info", "--output=json", "--backing-chain"],
    ):
        listed = parse_listing(run("qemu-img", *form, image, tz="Asia/Kolkata"), timezone="Asia/Kolkata")
        assert [(s.id, s.name, s.kind) for s in listed] == [
            ("1", "first one", "disk"),
            ("2", "second", "disk"),
        ]
        assert all(before - SECOND <= s.time_ns <= time.time_ns() for s in listed)


@pytest.mark.needs_program("snapper", "btrfs", "mkfs.btrfs")
def test_snapper_in_each_of_its_forms(tmp_path):
    config = f"listing-{os.getpid()}"
    with btrfs_mount(tmp_path) as point:
        try:
            snapper = ["snapper", "--no-dbus", "-c", config]
            run(*snapper, "create-config", point)
            before = time.time_ns()
            run(*snapper, "create", "-d", 'a, "b" | c', "-c", "timeline")
            run(*snapper, "create", "-t", "pre", "-d", "before", "-u", "important=yes", "-c", "number")
            run(*snapper, "create", "-t", "post", "--pre-number", "2", "-d", "after", "-c", "number")
            forms = ([], ["--iso"], ["--csvout"], ["--jsonout"])
            texts = [run(*snapper, *form, "list", tz="Europe/Berlin") for form in forms]
        finally:
            run(*snapper, "delete-config")
    for text in texts:
        single, pre, post = listed = parse_listing(text, timezone="Europe/Berlin")
        assert all(before - SECOND <= s.time_ns <= time.time_ns() for s in listed)
        assert single.attributes["description"] == 'a, "b" | c'
        assert [s.classes for s in listed] == [{"timeline"}, {"number"}, {"number"}]
        assert (pre.attributes["pair"], post.attributes["pair"]) == (post.id, pre.id)
        assert pre.attributes["important"] is True


@pytest.mark.needs_program("btrbk", "faketime", "btrfs", "mkfs.btrfs")
def test_btrbk(tmp_path):
    with btrfs_mount(tmp_path) as point:
        (point / "snaps").mkdir()
        run("btrfs", "subvolume", "create", point / "work")
        config = tmp_path / "btrbk.conf"
        config.write_text(
            f"timestamp_format long\nsnapshot_dir snaps\nlockfile {tmp_path / 'lock'}\n"
            f"volume {point}\n  subvolume work\n"
        )
        btrbk = [shutil.which("btrbk"), "-q", "-c", str(config)]
        assert parse_listing(run(*btrbk, "list", "snapshots", "--format=raw"), tool="btrbk") == []
        for clock in ("2024-01-01 00:00:00", "2024-07-02 00:30:00", "2024-07-02 00:30:30"):
            run("faketime", clock, *btrbk, "snapshot", tz="Europe/Berlin")
        listed = parse_listing(run(*btrbk, "list", "snapshots", "--format=raw"), timezone="Europe/Berlin")
    assert [s.name for s in listed] == ["work.20240101T0000", "work.20240702T0030", "work.20240702T0030_1"]
    assert [s.time_ns for s in listed] == [
        ns("2023-12-31T23:00Z"), ns("2024-07-01T22:30Z"), ns("2024-07-01T22:30Z"),
    ]  # fmt: skip
    assert {s.attributes["volume"] for s in listed} == {str(point / "work")}
