"""Dirty bitmaps through virsh, of a real domain whose QEMU runs as another user."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.cli import main
from snapsim.errors import RecordingError
from snapsim.recording.bitmaps import BitmapRecorder
from snapsim.recording.disks import choose, disks_of
from snapsim.recording.libvirt import VirshMonitor
from snapsim.recording.qmp import CommandRefusedError, MonitorLostError

MIB = 1 << 20
CONNECT = "qemu:///system" if os.getuid() == 0 else "qemu:///session"
DOMAIN = """\
<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{folder}/a.img'/>
<target dev='vda' bus='virtio'/><shareable/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{folder}/b.img'/>
<target dev='vdb' bus='virtio'/><shareable/></disk>
</devices></domain>
"""


def virsh(*words, check=True):
    return subprocess.run(["virsh", "-q", "-c", CONNECT, *words], capture_output=True, text=True, check=check)


def answers():
    return virsh("list", check=False).returncode == 0


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory):
    """Run libvirtd if it does not run yet."""
    if answers():
        yield
        return
    folder = tmp_path_factory.mktemp("libvirtd")
    with ExitStack() as daemons:
        for name in ("virtlogd", "libvirtd"):
            line = [name, "--pid-file", folder / name]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            daemon = daemons.enter_context(subprocess.Popen(line, **quiet))
            daemons.callback(daemon.terminate)
        end = time.monotonic() + 30
        while not answers():
            assert daemon.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield


@pytest.fixture
def domain(libvirtd):
    """Run a domain with two disks, its guest stopped before its first instruction."""
    name = f"snapsim-test-{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="snapsim-libvirt-"))
    try:
        folder.chmod(0o711)  # QEMU runs as another user
        for image in ("a.img", "b.img"):
            (folder / image).touch()
            os.truncate(folder / image, 64 * MIB)
        (folder / "domain.xml").write_text(DOMAIN.format(name=name, folder=folder))
        virsh("create", str(folder / "domain.xml"), "--paused")
        yield name
    finally:
        virsh("destroy", name, check=False)
        shutil.rmtree(folder)


def write(domain, offset, length):
    command = f'qemu-io libvirt-1-format "write {offset} {length}"'
    virsh("qemu-monitor-command", "--hmp", domain, command)


@pytest.mark.integration
@pytest.mark.needs_program("libvirtd", "virsh", "qemu-system-x86_64", "qemu-img")
def test_a_domain_is_recorded_under_the_names_of_its_xml(domain, tmp_path):
    monitor = VirshMonitor(domain, connect=CONNECT)
    disks = disks_of(monitor, monitor.targets())
    assert [one.name for one in disks] == ["vda", "vdb"]
    disk = next(
        one for one in disks if one.file.endswith(("a.img", "b.img")) and "libvirt-1-format" in one.names
    )
    assert choose(disks, disk.name) == disk
    exchange = Path(monitor.exchange_folder())
    recorder = BitmapRecorder.start(monitor, disk, tmp_path / "one.recording", grain=65536, exchange=exchange)
    write(domain, MIB, 100 << 10)
    assert recorder.sample()
    write(domain, 0, 512)
    write(domain, 5 * MIB, 512)
    assert recorder.sample()
    with pytest.raises(CommandRefusedError, match="query-nothing"):
        monitor.execute("query-nothing")
    recorder.end("enough")
    recorder.close()
    assert [extents.tolist() for extents in recorder.log.changes()] == [
        [[MIB, 131072]],
        [[0, 65536], [5 * MIB, 65536]],
    ]
    assert not any("dirty-bitmaps" in node for node in monitor.execute("query-named-block-nodes", flat=True))

    recorder = BitmapRecorder.start(monitor, disk, tmp_path / "two.recording", grain=65536, exchange=exchange)
    assert recorder.sample()
    virsh("destroy", domain)
    assert not recorder.sample()
    recorder.close()
    assert recorder.log.ended == f"the domain {domain} is not running; the last interval is left out"


@pytest.mark.integration
@pytest.mark.needs_program("libvirtd", "virsh", "qemu-system-x86_64", "qemu-img")
def test_the_command_takes_a_domain(domain, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["record", "bitmaps", "--libvirt", domain, "--connect", CONNECT]
    assert main([*command, "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["vda", "vdb"]
    assert main([*command, "--device", "vdb", "-o", "b.parquet", "--every", "500ms", "--for", "2s"]) == 0
    assert "recording vdb (64 MiB" in capsys.readouterr().out
    trace = ss.read_trace("b.parquet")
    assert trace.initial == ()
    assert 2e9 <= trace.span_ns < 30e9


@pytest.fixture
def fake_virsh(tmp_path, monkeypatch):
    """Put a script before virsh on the path; it counts its calls."""
    calls = tmp_path / "calls"

    def written(body):
        script = tmp_path / "virsh"
        script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nn=$(wc -l < {calls})\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return written


def test_libvirt_may_be_started_anew_meanwhile(fake_virsh):
    fake_virsh(
        '[ "$n" = 2 ] && { echo "error: failed to connect to the hypervisor" >&2; exit 1; }\n'
        """echo '{"return": {"running": true}}'"""
    )
    monitor = VirshMonitor("guest")
    assert monitor.execute("query-status") == {"running": True}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            "error: failed to connect to the hypervisor\nerror: no socket",
            "libvirt: failed to connect .*; no socket",
        ),
        (
            "error: failed to get domain 'guest'",
            r"the domain guest is not running \(at qemu:///system; `virsh list`",
        ),
    ],
)
def test_what_libvirt_refuses_at_first_is_said(fake_virsh, told, message):
    fake_virsh(f"printf '%s\\n' \"{told}\" >&2\nexit 1")
    with pytest.raises(RecordingError, match=message) as caught:
        VirshMonitor("guest")
    assert not isinstance(caught.value, MonitorLostError)


def test_a_host_elsewhere_is_refused():
    with pytest.raises(RecordingError, match="on another machine: run the recorder there"):
        VirshMonitor("guest", connect="qemu+ssh://host/system")


def test_virsh_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecordingError, match="install the package libvirt-clients"):
        VirshMonitor("guest")
