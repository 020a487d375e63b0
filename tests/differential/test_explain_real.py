"""`snapsim policy import` and `explain` on what the real programs list: the same as their own dry runs."""

import json
import os
import random
import re
from datetime import datetime

import pytest

from snapsim.cli import main
from tests.differential.btrfs_mount import btrfs_mount
from tests.differential.forged_restic import RealRestic
from tests.differential.random_cases import snapshots
from tests.differential.test_real_listings import DATES, run

pytestmark = pytest.mark.integration


@pytest.fixture
def explained(tmp_path, capsys):
    """Import a policy, explain it on a listing, and return what stays: names or ids."""

    def ask(tool, words, listing, key, *more, imported=()):
        policy, listed = tmp_path / "policy.toml", tmp_path / "listing"
        listed.write_text(listing)
        assert main(["policy", "import", "--from", tool, "-o", str(policy), *imported, "--", words]) == 0
        capsys.readouterr()
        assert main(["policy", "explain", str(policy), "--snapshots", str(listed), "--json", *more]) == 0
        told = json.loads(capsys.readouterr().out)["snapshots"]
        return {one[key] for one in told if one["keep"]}, len(told)

    return ask


@pytest.mark.needs_program("restic")
@pytest.mark.parametrize(
    "words",
    [
        "--keep-daily 3 --keep-weekly 2 --group-by host",
        "-l 2 -m 6 --group-by host",
        "--keep-within 9d --keep-monthly 2 --keep-tag release --group-by host",
        "--keep-within-daily 1m --keep-within-yearly 3y --group-by host,tags",
    ],
)
def test_restic(tmp_path, explained, words):
    chance = random.Random(7)
    real = RealRestic(tmp_path)
    scenarios = {f"host-{n}": snapshots(chance) for n in range(15)}
    listing, names = real.listing(scenarios)
    arguments = words.replace("-l 2", "--keep-last 2").split()
    folder = real.repository / "snapshots"
    before = sorted(folder.iterdir())
    done = real._run("forget", "--dry-run", "--json", "--no-cache", "--no-lock", *arguments)
    assert sorted(folder.iterdir()) == before
    stays = {one["id"] for group in json.loads(done.stdout) for one in group["keep"] or []}
    kept, count = explained("restic-0.14", words, listing, "id")
    assert kept == stays
    assert 0 < len(kept) < count == len(names)


@pytest.mark.needs_program("borg")
def test_borg(tmp_path, explained):
    (tmp_path / "source").mkdir()
    known = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_BASE_DIR": str(tmp_path)}
    repository = str(tmp_path / "b")
    run("borg", "init", "-e", "none", repository, **known)
    for date in DATES:
        for host in ("web", "db"):
            name = f"{repository}::{host}-{date}"
            run("borg", "create", "--timestamp", f"{date}T10:00:00", name, tmp_path / "source", **known)
    listing = run("borg", "list", "--json", repository, tz="Europe/Berlin", **known)
    for words in ("--keep-daily 2 --keep-monthly 2 -a web-*", "--keep-weekly -1 -a web-*", "-y 5 -P web-"):
        command = ["borg", "prune", "--dry-run", "--list", *words.split(), repository]
        told = run(*command, tz="Europe/Berlin", **known)
        stays = set(re.findall(r"Keeping archive \(rule.*?\):\s+(\S+)", told))
        zone = ["--timezone", "Europe/Berlin"]
        kept, count = explained("borg", words, listing, "name", *zone, imported=zone)
        assert count == 2 * len(DATES)
        assert {name for name in kept if name.startswith("web-")} == stays
        assert {name for name in kept if name.startswith("db-")} == {f"db-{date}" for date in DATES}
        assert 0 < len(stays) < len(DATES)


@pytest.mark.needs_program("snapper", "btrfs", "mkfs.btrfs")
def test_snapper(tmp_path, explained):
    """Snapper has no dry run: what is left after its own cleanup is its answer."""
    config = f"explain-{os.getpid()}"
    with btrfs_mount(tmp_path) as point:
        snapper = ["snapper", "--no-dbus", "-c", config]
        try:
            run(*snapper, "create-config", point)
            run(*snapper, "set-config", "NUMBER_LIMIT=3", "NUMBER_LIMIT_IMPORTANT=2", "NUMBER_MIN_AGE=0",
                "EMPTY_PRE_POST_CLEANUP=no", "SPACE_LIMIT=0", "FREE_LIMIT=0")  # fmt: skip
            for n in range(7):
                data = ["-u", "important=yes"] if n % 3 == 0 else []
                run(*snapper, "create", "-c", "number", "-d", f"n{n}", *data)
            listing = run(*snapper, "--iso", "list")
            words = 'NUMBER_CLEANUP="yes"\nNUMBER_LIMIT="3"\nNUMBER_LIMIT_IMPORTANT="2"\nNUMBER_MIN_AGE="0"\n'
            run(*snapper, "cleanup", "number")
            left = run(*snapper, "--iso", "list")
        finally:
            run(*snapper, "delete-config")
    later = datetime.now().astimezone().isoformat()
    kept, count = explained("snapper", words, listing, "id", "--now", later)
    numbers = {found[1] for found in re.finditer(r"^\s*(\d+)\s*│?\|?", left, re.MULTILINE)}
    assert kept - {"0"} == numbers - {"0"}
    assert len(kept) < count
