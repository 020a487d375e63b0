"""What the documentation says is true: its code runs, its links lead somewhere, its pictures have words."""

import re
import runpy
import struct
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import snapsim
from tests.docs.blocks import Session, blocks, commands, prose

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [path for path in DOCUMENTS if any(one.language in {"python", "console"} for one in blocks(path.read_text()))]

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
        if not page.exists() or not page.is_relative_to(ROOT):
            missing.append(match["target"])
        elif target.fragment and target.fragment not in anchors(page):
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
def test_a_document_has_one_title_and_no_step_between_headings(path):
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(path.read_text()), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_every_document_can_be_reached_from_the_readme():
    seen, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = [match["target"].partition("#")[0] for match in LINK.finditer(prose(page.read_text()))]
        pending += [
            (page.parent / target).resolve() for target in targets if target.endswith(".md") and "://" not in target
        ]
    assert not [name(path) for path in DOCUMENTS if path not in seen]


@pytest.fixture(scope="module")
def reference():
    return runpy.run_path(str(ROOT / "tools" / "reference_pages.py"), run_name="reference_pages")


def test_reference_pages_are_what_the_code_says(reference, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(reference["WIDTH"]))
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    stale = {page for page, text in reference["pages"]().items() if written.get(page) != text}
    assert not stale, "run tools/reference_pages.py"
    assert written.keys() == reference["pages"]().keys()


def test_the_picture_of_the_readme_is_todays(monkeypatch):
    """Its alternative text has the numbers; fonts may draw the same picture a little differently."""
    figure = runpy.run_path(str(ROOT / "tools" / "readme_figures.py"), run_name="readme_figures")["storage_growth"]()
    (image,) = (match for match in LINK.finditer((ROOT / "README.md").read_text()) if match["image"])
    assert image["text"] == figure.alt
    header = (ROOT / image["target"]).read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", header[16:])
    assert width / height == pytest.approx(figure.fig.get_figwidth() / figure.fig.get_figheight(), rel=0.01)


def test_commands_of_the_readme_are_verbs_of_make():
    for block in blocks((ROOT / "README.md").read_text()):
        for verb in re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE):
            subprocess.run(["make", "-n", "-C", ROOT, verb], check=True, capture_output=True)
