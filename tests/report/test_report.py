import re
from html.parser import HTMLParser

import numpy as np
import pytest

import snapsim as ss
from snapsim import report
from snapsim.errors import UsageError
from snapsim.traces.trace import DroppedLine
from snapsim.units import HOUR, KIB, format_size

VOID = {"meta", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Elements, nesting, attributes and texts of a page."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text()
        self.open, self.elements, self.texts = [], [], []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *tags):
        return [text for tag, text in self.texts if tag in tags]


def make_trace(hours=72, **changes):
    step = np.arange(hours, dtype=np.int64)
    return ss.Trace.from_arrays(
        step * HOUR + 1,
        ["write"] * hours,
        step % 8 * 64 * KIB,
        np.full(hours, 64 * KIB),
        **{"capacity": "1MiB", "start": "2026-01-01", **changes},
    )


def make_growth(lifetimes, **policy):
    asked = ss.Policy(schedule="@hourly", **(policy or {"keep_hourly": 4, "keep_daily": 2}))
    return ss.growth(lifetimes, asked.timeline(lifetimes.instants), mechanism="qcow2-external")


@pytest.fixture(scope="module")
def trace():
    return make_trace()


@pytest.fixture(scope="module")
def lifetimes(trace):
    return ss.count_lifetimes(trace, every="1h", block_size="64KiB")


@pytest.fixture(scope="module")
def growth(lifetimes):
    return make_growth(lifetimes)


@pytest.fixture(scope="module")
def page(growth, trace, lifetimes, tmp_path_factory):
    return Page(
        report.write(growth, tmp_path_factory.mktemp("page") / "page.html", trace=trace, lifetimes=lifetimes)
    )


def test_the_page_needs_nothing_from_elsewhere(page):
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert not page.all("script") + page.all("link") + page.all("iframe")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not re.search(r"url\(|@import", page.source)


def test_the_page_is_well_formed_and_can_be_navigated(page):
    assert page.source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.all("meta")[0] == {"charset": "utf-8"}
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    names = [attributes["id"] for tag, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in names]
    assert [one["aria-labelledby"] for one in page.all("section")] == names


def test_every_picture_has_alternative_text_and_a_caption(page):
    pictures = page.all("img")
    assert len(pictures) == len(page.all("figcaption")) == len(page.all("figure")) == 6
    assert all(len(picture["alt"]) > 40 for picture in pictures)


def test_every_table_has_a_caption_and_scopes(page):
    tables = len(page.all("table"))
    assert tables == len(page.text("caption")) >= 6
    assert {head["scope"] for head in page.all("th")} == {"col", "row"}


def test_the_answer_comes_first_with_its_verdict(page, growth):
    # a day overwrites all 8 places, an hour one: 8 + 4 blocks before the prune
    answer = page.text("p")[0]
    assert answer.startswith(
        "The snapshots of this policy need 768 KiB of data at the peak, 1.42d after the start"
    )
    assert growth.coverage.verdict in answer
    assert page.text("h1") == page.text("title") == ["Snapshot space on qcow2 external snapshots (overlays)"]


def rows(page, caption):
    """The cells of one table, row by row."""
    table = page.source.split(f"<caption>{caption}")[1].split("</table>")[0]
    return [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    ][1:]


def test_key_numbers_are_those_of_the_answer(page, growth):
    numbers = dict(rows(page, "Space that the snapshots need"))
    assert numbers["Snapshot data at the peak"] == format_size(growth.peak["snapshot_bytes"])
    assert numbers["Snapshots at once, at most"] == str(growth.peak["snapshots"])
    assert numbers["Snapshot data for 95 % of the time, at most"] == format_size(growth.percentiles["p95"])
    assert numbers["Merged over time, in all"] == format_size(int(growth.frame["merged_bytes"].sum()))


def test_snapshots_are_listed_newest_first_with_reasons(page, growth):
    listed = rows(page, f"{len(growth.snapshots)} snapshots, newest first")
    assert len(listed) == len(growth.snapshots)
    assert listed[0][:2] == ["2026-01-04 00:00:00", "0"]
    assert listed[0][-1] == growth.snapshots["reasons"].iloc[-1]
    assert "Taken [UTC]" in page.text("th")


def test_policy_mechanism_and_provenance_are_said(page, growth, trace):
    assert page.text("pre") == [growth.timeline.policy.to_toml().strip()]
    status = {row[0]: row[1] for row in rows(page, "What was compared with the real system")}
    assert status["Data"] == "validated"
    assert "modelled" in status.values()
    items = page.text("li")
    assert all(caveat in items for caveat in growth.mechanism.caveats)
    assert all(text in items for text in growth.assumptions)
    made = dict(rows(page, "Versions, trace and parameters"))
    assert made["snapsim"] == ss.__version__
    assert made["trace: fingerprint"] == trace.fingerprint
    assert made["counting: block size"] == "64 KiB"


def test_the_trace_is_judged(page):
    assert any("requests a second on average" in text for text in page.text("li"))
    assert page.text("strong").count("Note:") >= 1


def test_without_trace_and_lifetimes_the_answer_stands_alone(growth, tmp_path):
    page = Page(report.write(growth, tmp_path / "page.html", title="Plan for <db-1>"))
    assert len(page.all("img")) == 2
    assert page.text("h1") == ["Plan for <db-1>"]
    assert "Plan for &lt;db-1&gt;" in page.source
    assert "Does the trace look right?" not in page.source


def test_no_snapshot_at_the_end_is_said(lifetimes, tmp_path):
    timeline = ss.Policy(schedule="1000d", keep_last=1).timeline(lifetimes.instants)
    growth = ss.growth(lifetimes, timeline, mechanism="qcow2-internal")
    page = Page(report.write(growth, tmp_path / "page.html"))
    assert "No snapshot is kept at the end." in page.text("p")


def test_very_many_snapshots_are_cut_with_a_word(tmp_path):
    lifetimes = ss.count_lifetimes(make_trace(hours=450), every="1h", block_size="64KiB")
    page = Page(report.write(make_growth(lifetimes, keep_last="unlimited"), tmp_path / "page.html"))
    assert len(rows(page, "451 snapshots, newest first; the newest 400 are shown")) == 400


def test_a_group_lists_its_volumes(lifetimes, tmp_path):
    timeline = ss.Policy(schedule="@hourly", keep_last=3).timeline(lifetimes.instants)
    group = ss.growth({"root": lifetimes, "data": lifetimes}, timeline, mechanism="qcow2-internal")
    page = Page(report.write(group, tmp_path / "page.html"))
    assert [row[0] for row in rows(page, "Volumes; their peaks")] == ["root", "data"]


def test_a_trace_alone(trace, tmp_path):
    page = Page(report.write_trace(trace, tmp_path / "trace.html"))
    assert page.text("h1") == ["Trace arrays"]
    assert (
        page.text("p")[0]
        == "72 requests in 2.96d, 100.0% of them writes: 4.5 MiB written to 512 KiB of distinct 4 KiB blocks."
    )
    assert dict(rows(page, "What arrays holds"))["Requests"] == "72"
    assert len(page.all("img")) == 3


def test_a_paced_trace_says_so_first(trace, tmp_path):
    page = Page(report.write_trace(trace.stretch(2), tmp_path / "trace.html"))
    assert page.text("p")[0].startswith("72 requests in 5.92d (1 s stands for 2s (x2)), 100.0% of them")
    assert dict(rows(page, "What arrays holds"))["Lasts"] == "5.92d (1 s stands for 2s (x2))"


def test_a_trace_of_several_volumes(tmp_path):
    trace = ss.Trace.from_arrays(
        [0, HOUR, 2 * HOUR], ["write"] * 3, [0] * 3, [4096] * 3, volume=["a", "b", "a"]
    )
    page = Page(report.write_trace(trace, tmp_path / "trace.html"))
    assert [row[:2] for row in rows(page, "Volumes")] == [["a", "2"], ["b", "1"]]


def test_dropped_lines_are_listed(trace, tmp_path, monkeypatch):
    import dataclasses

    drop = DroppedLine("disk.csv", 17, "offset", "'<b>' is no number")
    damaged = dataclasses.replace(trace.info, dropped_lines=3, drops=(drop,))
    monkeypatch.setattr(type(trace), "info", property(lambda _self: damaged))
    page = Page(report.write_trace(trace, tmp_path / "trace.html"))
    (row,) = rows(page, "Damaged lines that were dropped: 3, the first 1 below")
    assert row == ["disk.csv", "17", "offset", "&#39;&lt;b&gt;&#39; is no number"]


def test_an_empty_trace_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no request"):
        report.write_trace(ss.Trace.from_arrays([], [], [], []), tmp_path / "trace.html")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_page(growth, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("old")

    def fail(_self, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(UsageError, match="No space left on device"):
        report.write(growth, target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
