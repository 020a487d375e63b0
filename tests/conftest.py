"""Fixtures and settings that every test shares."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Which Debian package brings a program that tests call.
PROGRAMS = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "strace": "strace",
    "restic": "restic",
    "borg": "borgbackup",
    "snapper": "snapper",
    "btrbk": "btrbk",
    "sanoid": "sanoid",
    "faketime": "faketime",
    "btrfs": "btrfs-progs",
    "fio": "fio",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.xfs": "xfsprogs",
    "mke2fs": "e2fsprogs",
    "qemu-nbd": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "thin_delta": "thin-provisioning-tools",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
}

# Without the compiler an example takes some ten times longer.
EXAMPLES = 200 if os.environ.get("NUMBA_DISABLE_JIT", "0") == "1" else 1000

PROFILES = {
    "dev": settings(max_examples=EXAMPLES // 10, deadline=None),
    "ci": settings(max_examples=EXAMPLES, deadline=None, derandomize=True),
    "slow": settings(max_examples=10 * EXAMPLES, deadline=None),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
for _name, _settings in PROFILES.items():
    settings.register_profile(_name, _settings)
    # an example of a policy is dozens of decisions: a quarter of them, and CI stays short
    settings.register_profile(f"{_name} policy", _settings, max_examples=max(_settings.max_examples // 4, 20))
settings.load_profile(PROFILE)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Let the tests of policies take the settings of policies: tests take them when they are imported."""
    about_policies = isinstance(collector, pytest.Module) and collector.path.parent.name == "policy"
    settings.load_profile(f"{PROFILE} policy" if about_policies else PROFILE)
    try:
        return (yield)
    finally:
        settings.load_profile(PROFILE)


def hear_interrupts():
    """Let a child process hear SIGINT: a shell's background jobs, and their children, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def skip_or_fail(reason):
    """Skip with a reason; where nothing may be skipped (continuous integration), fail with it."""
    if os.environ.get("SNAPSIM_SKIP_NOTHING"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_program(name):
    """Return the path of a program, or skip the test and say which package has it."""
    path = shutil.which(name)
    if path is None:
        package = PROGRAMS.get(name, name)
        skip_or_fail(f"the program {name} is missing: install the package {package} (make test does)")
    return path


@pytest.hookimpl(tryfirst=True)  # before -m selects by mark
def pytest_collection_modifyitems(items):
    for item in items:
        if "public_traces" in getattr(item, "fixturenames", ()):
            item.add_marker("public_traces")


def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs_program"):
        for name in marker.args:
            require_program(name)


@pytest.fixture(scope="session")
def public_traces():
    """Give the folder with the public traces, which are too large to be part of the repository."""
    folder = os.environ.get("SNAPSIM_PUBLIC_TRACES")
    if not folder:
        pytest.skip("SNAPSIM_PUBLIC_TRACES is not set: it names the folder with the public traces")
    if not Path(folder).is_dir():
        pytest.fail(f"SNAPSIM_PUBLIC_TRACES names {folder}, which is not a folder", pytrace=False)
    return Path(folder)


@pytest.fixture(scope="session")
def qemu_img():
    """Give the path of qemu-img."""
    return require_program("qemu-img")


@pytest.fixture(scope="session")
def qemu_io():
    """Give the path of qemu-io."""
    return require_program("qemu-io")
