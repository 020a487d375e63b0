"""What the shell gets: exit statuses, single lines, signals, pipes, and nothing half-written."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import snapsim
from snapsim import errors
from snapsim.cli import main, running
from tests.cli.conftest import spawn


def test_the_version(process):
    got = process("--version")
    assert got == (0, f"{snapsim.__version__}\n", "")


def test_help_lists_commands_and_exit_statuses(run):
    for got in (run(), run("--help")):
        assert got.status == 0
        for command in ("trace", "simulate", "mechanisms", "policy", "report"):
            assert f"│ {command} " in got.out
        statuses = set(re.findall(r"\b(\d+)\b", got.out.split("Exit status:")[1]))
        assert statuses == {"0", "1", "2", "3", "4", "130", "141", "143"}


COMMANDS = [
    ("trace", "info"),
    ("trace", "stats"),
    ("trace", "convert"),
    ("trace", "formats"),
    ("simulate",),
    ("mechanisms",),
    ("policy", "show"),
    ("report",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_explains_every_option(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    got = run(*command, "--help")
    assert got.status == 0
    assert "--json" in got.out
    options = [line for line in got.out.splitlines() if re.match(r"│ (\*  )?--", line)]
    assert options
    for line in options:
        assert re.match(r"│ (\*  )?--[\w -]+?(-o )?([A-Z.]\S*)?\s{2,}\S", line), line
    assert "Parameters\n-----" not in got.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simulat",), 'Did you mean "simulate"?'),
        (("trace", "inf"), 'Did you mean "info"?'),
        (("mechanisms", "--jsn"), "Did you mean --json?"),
        (("mechanisms", "zfs", "btrfs"), "too many arguments: btrfs"),
        (("trace", "info"), "FILES requires an argument"),
        (("trace", "info", "x", "--format"), "--format requires an argument"),
        (("trace", "info", "x", "--damage-limit", "much"), "--damage-limit"),
    ],
)
def test_a_mistyped_command_line(refused, arguments, says):
    message = refused(*arguments, status=2)
    assert says in message
    assert "--help)" in message


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (errors.PolicyError("no"), 2, "error: no"),
        (errors.TraceError("no"), 3, "error: no"),
        (errors.StoreError("no"), 3, "error: no"),
        (errors.CapacityError("no"), 4, "error: no"),
        (MemoryError(), 4, "error: this does not fit into memory"),
        (PermissionError(13, "Permission denied", "/etc/x"), 1, "error: /etc/x: Permission denied"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (ZeroDivisionError("two\nlines"), 1, "error: ZeroDivisionError: two lines (this is a bug"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_whatever_goes_wrong_is_one_line_and_a_status(run, monkeypatch, error, status, says):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr("snapsim.traces.formats.formats", fail)
    got = run("trace", "formats")
    assert got.status == status
    assert got.err.startswith(f"snapsim: {says}")
    assert got.err.count("\n") == 1
    assert not got.out


def test_every_error_of_the_package_has_its_status():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind.exit_status for kind in kinds} == {1, 2, 3, 4}
    for kind in kinds:
        assert running._told(kind("x")) == ("error: x", kind.exit_status)


def test_debug_shows_where(run, monkeypatch):
    asked = run("mechanisms", "dmthin", "--debug")
    monkeypatch.setenv("SNAPSIM_DEBUG", "1")
    by_variable = run("mechanisms", "dmthin")
    for got in (asked, by_variable):
        assert got.status == 2
        assert "Traceback" in got.err
        assert got.err.splitlines()[-1].startswith("snapsim: error: mechanism 'dmthin'")
    monkeypatch.setenv("SNAPSIM_DEBUG", "0")
    assert "Traceback" not in run("mechanisms", "dmthin").err


def test_who_stops_reading_gets_no_traceback(tmp_path):
    with spawn("trace", "formats", "--json") as child:
        child.stdout.close()
        errors_ = child.stderr.read()
        assert child.wait(timeout=60) == 141
    assert not errors_


def test_a_full_disk_is_told():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "snapsim.cli", "mechanisms"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "snapsim: error: No space left on device\n"


def interrupted(arguments, folder, number):
    """Start a command, send it a signal as soon as it writes into a folder; return status and errors."""
    with spawn(*arguments) as child:
        until = time.monotonic() + 60
        while not list(folder.glob(".*partial*/*")):
            assert child.poll() is None, child.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.005)
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
        assert not out
        return child.returncode, err


@pytest.mark.parametrize(
    ("number", "status", "says"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupted_import_leaves_what_was_there(long_msr, stored, tmp_path, number, status, says):
    target = tmp_path / "long.parquet"
    target.write_bytes(stored.read_bytes())
    got = interrupted(("trace", "convert", long_msr, target), tmp_path, number)
    assert got == (status, f"snapsim: {says}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["long.parquet"]
    assert target.read_bytes() == stored.read_bytes()


def test_sigterm_is_given_back(run):
    before = signal.getsignal(signal.SIGTERM)
    run("--version")
    assert signal.getsignal(signal.SIGTERM) is before


def test_main_runs_in_another_thread(capsys):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["--version"]).result() == 0
    assert capsys.readouterr().out == f"{snapsim.__version__}\n"


LOADED = """
import sys
from snapsim.cli import main
main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
"""


def loaded(*arguments):
    """Return which modules a command loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return set(done.stderr.split())


def test_small_questions_load_nothing_heavy(tmp_path):
    heavy = {"numpy", "pandas", "numba", "pyarrow", "pydantic", "matplotlib", "tqdm"}
    for arguments in (("--version",), ("--help",), ("simulat",), ("trace", "--help")):
        assert not heavy & loaded(*arguments), arguments
    assert not {"pandas", "numba", "pyarrow", "matplotlib"} & loaded("mechanisms")


def test_simulate_loads_only_what_it_uses(msr):
    modules = loaded("simulate", msr, "--schedule", "10min", "--keep-last", "3")
    assert "numba" in modules
    idle = {"matplotlib", "jinja2", "hypothesis", "IPython", "ipywidgets", "pooch", "pyarrow.dataset", "tqdm"}
    assert not idle & modules


def test_a_home_that_cannot_be_written_to():
    """Compiled code cannot be kept everywhere; that is no reason to fail."""
    environment = {**os.environ, "HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    environment.pop("SNAPSIM_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-m", "snapsim.cli", "policy", "show", "gfs", "--json"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
