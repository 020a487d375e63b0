"""What the documentation says is true: its code runs, its links lead somewhere, its pictures have words."""

import re
import runpy
import struct
import subprocess
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import snapsim
from tests.docs.blocks import Session, blocks, commands, prose

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = {"python", "console"}
WITH_CODE = [path for path in DOCUMENTS if CODE & {one.language for one in blocks(path.read_text())}]

# Everything else that is worth a link is in the repository.
HOSTS = {"www.usenix.org", "openzfs.github.io", "www.qemu.org", "docs.kernel.org", "restic.readthedocs.io"}
SYSTEM_FOLDERS = {"dev", "etc", "proc", "sys", "usr", "var"}

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def name(path):
    return str(path.relative_to(ROOT))


documents = pytest.mark.parametrize("path", DOCUMENTS, ids=name)


@pytest.mark.parametrize("path", WITH_CODE, ids=name)
def test_the_code_of_a_document_runs_and_prints_what_is_shown(path, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    session = Session(name(path), tmp_path)
    for block in blocks(path.read_text()):
        session.run(block)


def test_outputs_that_differ_are_found(tmp_path, monkeypatch):
    """The test above can fail."""
    monkeypatch.chdir(tmp_path)
    session = Session("document", tmp_path)
    (wrong,) = blocks("```console\n$ snapsim --version\nsnapsim 99\n```\n")
    with pytest.raises(AssertionError, match="shown"):
        session.run(wrong)
    (wrong,) = blocks("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        session.run(wrong)
    session.run(*blocks("```python\nkept = 1\n```\n"))
    session.run(*blocks("```python\n>>> kept + 1\n2\n```\n"))
    assert list(commands("$ a \\\n  b\nout\n$ c\n")) == [("a  b", "out\n"), ("c", "")]


def anchors(path):
    """The anchors that a page's headings get."""
    heads = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads)
    return set(plain)


@documents
def test_links_inside_the_repository_lead_somewhere(path):
    missing = []
    for match in LINK.finditer(prose(path.read_text())):
        target = urlsplit(match["target"])
        if target.scheme:
            continue
        page = (path.parent / target.path).resolve() if target.path else path
        found = page.exists() and page.is_relative_to(ROOT)
        if not found or (target.fragment and target.fragment not in anchors(page)):
            missing.append(match["target"])
    assert not missing


@documents
def test_links_to_elsewhere_are_few_and_known(path):
    """No package index, no mirror, no machine of somebody's."""
    addresses = re.findall(r"\b(?:https?|git|ssh)://[^\s)>`\"']+", path.read_text())
    assert {urlsplit(address).netloc for address in addresses} <= HOSTS


@documents
def test_no_document_names_a_place_on_somebodys_machine(path):
    found = re.findall(r"(?:^|[\s\"'`(=])/(\w[\w.-]*)/", path.read_text(), re.MULTILINE)
    assert set(found) <= SYSTEM_FOLDERS


@documents
def test_pictures_have_words(path):
    for match in LINK.finditer(path.read_text()):
        if match["image"]:
            assert len(match["text"]) > 20, match[0]


@documents
def test_what_a_document_names_exists(path):
    """Files, verbs and public names in backquotes."""
    verbs = set(re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"`([^`\n]+)`", prose(path.read_text()))
    wrong = []
    for text in code:
        if verb := re.fullmatch(r"make ([a-z-]+)", text):
            wrong += [text] * (verb[1] not in verbs)
        elif public := re.match(r"ss\.(\w+)", text):
            wrong += [text] * (not hasattr(snapsim, public[1]))
        elif re.fullmatch(r"(?:snapsim|tests|tools|data|docs|notebooks|benchmarks)/[\w./-]+", text):
            wrong += [text] * (not (ROOT / text).exists())
        elif re.fullmatch(r"(?:engine|traces|policy|planning|mechanisms|viz|report|cli)/[\w./-]+", text):
            wrong += [text] * (not (ROOT / "snapsim" / text).exists())
    assert not wrong


@documents
def test_files_that_a_document_writes_are_named_in_it(path):
    """The name behind a block's language is not shown: the text has to say it."""
    text = path.read_text()
    assert not [one.file for one in blocks(text) if one.file and f"`{one.file}`" not in prose(text)]


@documents
def test_a_document_has_one_title_and_no_step_between_headings(path):
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(path.read_text()), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_document_can_be_reached_from_the_readme():
    seen, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in seen:
            continue
        seen.add(page)
        links = [urlsplit(match["target"]) for match in LINK.finditer(prose(page.read_text()))]
        pages = [link.path for link in links if not link.scheme and link.path.endswith(".md")]
        pending += [(page.parent / path).resolve() for path in pages]
    assert not [name(path) for path in DOCUMENTS if path not in seen]


def script(name):
    return runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name=name)


def test_reference_pages_are_what_the_code_says(monkeypatch):
    reference = script("reference_pages")
    monkeypatch.setenv("COLUMNS", str(reference["WIDTH"]))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    pages = reference["pages"]()
    stale = {page for page, text in pages.items() if written.get(page) != text}
    assert not stale, "run tools/reference_pages.py"
    assert written.keys() - {"change_files.md"} == pages.keys()  # that one is written by hand


def test_the_picture_of_the_readme_is_todays():
    """Its alternative text has the numbers; fonts may draw the same picture a little differently."""
    figure = script("readme_figures")["storage_growth"]()
    (image,) = (match for match in LINK.finditer(README) if match["image"])
    assert image["text"] == figure.alt
    header = (ROOT / image["target"]).read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", header[16:])
    assert width / height == pytest.approx(figure.fig.get_figwidth() / figure.fig.get_figheight(), rel=0.01)


def test_the_readme_compares_with_the_average_change_rate():
    summary = snapsim.statistics.summarise(
        snapsim.read_trace(ROOT / "data" / "traces" / "postgres.parquet")
    ).to_dict()
    average = 300 * summary["written_bytes"] / summary["span_seconds"]
    assert f"would give {snapsim.units.format_size(average)}" in README


def test_the_readme_says_which_mechanisms_were_validated():
    said = {"validated": set(), "modelled": set()}
    for status, names in re.findall(r"^\| \*\*(validated|modelled)\*\* \|([^|]*)\|", README, re.MULTILINE):
        said[status] |= set(re.findall(r"`([^`]+)`", names))
    found = [snapsim.mechanism(one) for one in snapsim.mechanisms()]
    assert said["validated"] == {one.name for one in found if one.validated}
    assert said["modelled"] == {one.name for one in found if not one.validated}
    assert [one.name for one in found if one.validated and one.lower_bound] == ["btrfs"]
    assert "`btrfs` as a lower bound only" in README


def test_commands_of_the_readme_are_verbs_of_make():
    verbs = [
        verb for one in blocks(README) for verb in re.findall(r"^make ([a-z-]+)", one.text, re.MULTILINE)
    ]
    assert verbs == ["demo", "test"]
    for verb in verbs:
        subprocess.run(["make", "-n", "-C", ROOT, verb], check=True, capture_output=True)


def test_the_demo_asks_what_the_readme_shows():
    """`make demo` and the first command of the README differ in the report only."""
    makefile = (ROOT / "Makefile").read_text()
    asked = next(line for line in makefile.splitlines() if "snapsim simulate" in line).partition(
        "snapsim simulate"
    )[2]
    console = next(one for one in blocks(README) if one.language == "console")
    shown = next(commands(console.text))[0].partition("snapsim simulate")[2]
    assert asked.partition("--report")[0].split() == shown.split()
