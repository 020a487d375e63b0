"""What the repository promises about itself: versions, pins, the environment, the verbs, cheap imports."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import snapsim

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()

CONDA_NAMES = {"python-tzdata": "tzdata"}  # conda's name -> the name in pyproject.toml
BUILT_AGAINST_THE_SYSTEM = {"libvirt-python"}


def requirements(*extras):
    """Return what the package and some of its extras need, as {name: specifier}."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    parsed = [Requirement(line) for lines in lists for line in lines]
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in parsed}


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_version_is_said_once():
    assert snapsim.__version__ == PROJECT["version"] == metadata.version("snapsim")
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_declared_dependency_is_pinned_and_the_pin_allowed():
    declared = requirements(*PROJECT["optional-dependencies"])
    pinned = pins()
    assert not declared.keys() - pinned.keys() - BUILT_AGAINST_THE_SYSTEM
    forbidden = {
        name: pinned[name]
        for name, allowed in declared.items()
        if name in pinned and pinned[name] not in allowed
    }
    assert not forbidden


def test_everything_that_comes_along_is_pinned():
    """Follow the requirements of the requirements, as installed, down to the last."""
    pinned, seen, pending = pins(), set(), set(requirements("dev"))
    while pending:
        name = pending.pop()
        seen.add(name)
        needs = (Requirement(line) for line in metadata.requires(name) or ())
        wanted = (need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""}))
        pending |= {canonicalize_name(need.name) for need in wanted} - seen
    assert len(seen) > len(requirements("dev"))
    assert not seen - pinned.keys()


def test_constraints_hold_names_and_versions_and_no_address():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+!]*", line), line


def test_environment_mirrors_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, through_pip = environment["dependencies"]
    listed = {}
    for line in packages:
        requirement = Requirement(line)
        listed[CONDA_NAMES.get(requirement.name, requirement.name)] = requirement.specifier
    assert str(listed.pop("python")) == PROJECT["requires-python"]
    listed.pop("pip")
    from_pip = requirements("qemu").keys() - requirements().keys()
    assert from_pip
    assert listed == {
        name: versions for name, versions in requirements("dev").items() if name not in from_pip
    }
    assert through_pip == {"pip": ["-e .[qemu]"]}


def test_types_and_data_files_are_part_of_the_package():
    package = resources.files("snapsim")
    assert (package / "py.typed").is_file()
    assert any(path.name.endswith(".toml") for path in (package / "mechanisms").iterdir())


def test_an_installed_package_finds_its_recordings(tmp_path):
    """Lay the files out as the wheel does, and look from there."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    wheel = tool["hatch"]["build"]["targets"]["wheel"]
    shutil.copytree(ROOT / "snapsim", tmp_path / "snapsim", ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in wheel["force-include"].items():
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / target).symlink_to(ROOT / source)
    code = (
        "import snapsim as ss\n"
        "assert ss.recordings()\n"
        "for one in ss.recordings().values():\n"
        "    print(one.path, one.initial_map.is_file(), one.provenance_path.is_file(), len(one.open()) > 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    for line in done.stdout.splitlines():
        assert line.startswith(str(tmp_path / "snapsim" / "data"))
        assert line.endswith(" True True True")
    assert "/data" in tool["hatch"]["build"]["targets"]["sdist"]["include"], "a wheel is built from an sdist"


@pytest.mark.parametrize("module", ["numba", "matplotlib", "ipywidgets", "pyarrow.parquet"])
def test_importing_snapsim_does_not_import(module):
    code = f"import sys, snapsim; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves():
    missing = [name for name in snapsim.__all__ if not hasattr(snapsim, name)]
    assert not missing
    assert set(snapsim.__all__) <= set(dir(snapsim))


def test_the_command_is_installed():
    (command,) = metadata.entry_points(group="console_scripts", name="snapsim")
    assert callable(command.load())


def test_every_kernel_module_has_its_exception_from_typing():
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (listed,) = (entry["module"] for entry in overrides if "disallow_untyped_defs" in entry)
    modules = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "snapsim").rglob("*_kernels.py"))
    assert sorted(listed) == sorted(".".join(module.parts) for module in modules)


def test_every_verb_is_documented():
    """`make` lists a verb by its `##` comment; CONTRIBUTING explains the same verbs."""
    verbs = set(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE)) - {"system-packages"}
    listing = subprocess.run(["make", "-C", ROOT], check=True, capture_output=True, text=True).stdout
    listed = set(re.findall(r"^  make ([a-z-]+) +\S", listing, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    explained = set(re.findall(r"`make ([a-z-]+)`", contributing))
    assert listed == verbs
    assert explained == verbs


def test_dependencies_have_their_reasons():
    text = (ROOT / "docs" / "design_notes" / "dependencies.md").read_text()
    explained = {canonicalize_name(name) for name in re.findall(r"^\| `([\w.-]+)", text, re.MULTILINE)}
    assert explained == set(requirements(*PROJECT["optional-dependencies"]))
