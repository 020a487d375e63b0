"""Bars are for people who wait."""

import io
import sys
import time

import pytest

from snapsim.cli import progress


class Terminal(io.StringIO):
    """A terminal that keeps everything."""

    def isatty(self):
        return True


@pytest.fixture
def watched(monkeypatch):
    """Put a terminal in the place of standard error (which pytest sets anew before each test's body)."""

    def watch():
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return watch


def test_nothing_is_shown_where_nobody_watches(capsys):
    with progress.bar("reading", unit="B") as step:
        step(1, 2)
    with progress.doing("drawing"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_bar_comes_after_a_second_and_goes(watched, monkeypatch):
    terminal = watched()
    with progress.bar("reading x", unit="B") as step:
        step(1 << 20, 1 << 21)
    assert "reading" not in terminal.getvalue()  # it took no second
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    with progress.bar("reading x", unit="B") as step:
        time.sleep(0.15)  # bars are drawn ten times a second at most
        step(1 << 20, 1 << 21)
        time.sleep(0.15)
        step(1 << 21, 1 << 21)
    shown = terminal.getvalue().split("\r")
    assert any(frame.startswith("reading x:  50%") and "1.00M/2.00M" in frame for frame in shown)
    assert not shown[-1].strip()
    assert not shown[-2].strip()  # wiped out


def test_a_second_pass_starts_the_bar_again(watched, monkeypatch):
    terminal = watched()
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    with progress.bar("counting", unit="requests") as step:
        for done in (5, 10, 5, 10):
            time.sleep(0.15)
            step(done, 10)
    assert "150%" not in terminal.getvalue()
    assert "requests" in terminal.getvalue()


def test_what_has_no_measure_is_named_while_it_lasts(watched):
    terminal = watched()
    with progress.doing("writing page.html"):
        assert terminal.getvalue() == "writing page.html ..."
    assert terminal.getvalue().endswith("\r\x1b[K")
    with pytest.raises(KeyboardInterrupt), progress.doing("writing"):
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\r\x1b[K")
