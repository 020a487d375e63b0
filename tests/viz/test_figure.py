import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import pytest
from IPython.core.formatters import DisplayFormatter

from snapsim.errors import UsageError
from snapsim.viz.figure import Figure, write_atomically
from snapsim.viz.style import new_figure, style


def make_figure(caption="A line.", alt="It rises."):
    with style():
        fig = new_figure(figsize=(4, 3))
        fig.subplots().plot([0, 1], [0, 1])
    return Figure(fig, caption=caption, alt=alt, text="Figure line: 1 series, 0-1")


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.attributes = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes[tag] = dict(attrs)

    def handle_data(self, data):
        self.text += data


def test_html_is_a_figure_with_alternative_text_and_caption():
    page = Elements(make_figure(caption="a < b", alt='say "hi"').to_html())
    assert page.tags == ["figure", "img", "figcaption"]
    assert page.attributes["img"]["alt"] == 'say "hi"'
    assert page.text == "a < b"
    assert page.attributes["img"]["src"].startswith("data:image/png;base64,")
    assert (page.attributes["img"]["width"], page.attributes["img"]["height"]) == ("384", "288")


def test_a_notebook_gets_the_picture_and_the_line_of_facts():
    figure = make_figure()
    data, _ = DisplayFormatter().format(figure)
    assert data["text/plain"] == repr(figure) == "Figure line: 1 series, 0-1"
    assert data["text/html"] == figure.to_html(dpi=144)


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_saved_by_ending_and_the_same_bytes_each_time(tmp_path, ending, magic):
    one, two = (make_figure().save(tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
    assert one.startswith(magic)
    assert one == two
    assert {path.name for path in tmp_path.iterdir()} == {f"a.{ending}", f"b.{ending}"}


def test_resolution_is_a_choice():
    def width(data):
        return int.from_bytes(data[16:20], "big")

    figure = make_figure()
    assert (width(figure.render("png")), width(figure.render("png", dpi=96))) == (768, 384)


@pytest.mark.parametrize("name", ["figure.gif", "figure"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="use png, svg, pdf"):
        make_figure().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_said_plainly(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        make_figure().save(tmp_path / "missing" / "figure.png")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    target = tmp_path / "page.html"
    target.write_text("old")

    def fail(_self, _target):
        raise error

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises((UsageError, KeyboardInterrupt)):
        write_atomically(target, b"new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_closing_lets_go_of_what_was_drawn():
    figure = make_figure()
    figure.close()
    assert figure.fig.axes == []


def test_settings_of_others_neither_change_nor_matter():
    before = dict(mpl.rcParams)
    plain = make_figure().render()
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert make_figure().render() == plain


def test_drawing_needs_no_pyplot_and_importing_snapsim_no_matplotlib():
    code = (
        "import sys, snapsim; assert 'matplotlib' not in sys.modules; "
        "trace = snapsim.Trace.from_arrays([0, 10**9], ['write'] * 2, [0, 0], [512, 512]); "
        "snapsim.viz.change_rate(trace).render(); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
