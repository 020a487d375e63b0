"""snapsim data: recordings and public sets by name."""

import io
import json
import sys
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.traces import fetching, library
from snapsim.traces.library import PublicFile, PublicSet

DATA = b"0,R,0,4096,1577808000000626\n0,W,0,4096,1577808000000726\n"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Let there be a public set whose download is a copy, and a cache; give what was downloaded."""
    cloud = tmp_path / "cloud.csv"
    cloud.write_bytes(DATA)
    file = PublicFile("io.csv", "https://example.org/io.csv", len(DATA), fetching.sha256_of(cloud))
    one = PublicSet(
        "small", "A small set", "two lines", "alibaba", "https://x.org", "CC0", "nobody", files=(file,)
    )
    everything = library.public_sets()
    monkeypatch.setattr(library, "public_sets", lambda: {**everything, "small": one})
    monkeypatch.setenv("SNAPSIM_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    asked = []

    def download(address, path, _):
        asked.append(address)
        Path(path).write_bytes(DATA)

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **_: download)
    return asked


def answer(monkeypatch, text):
    stdin = io.StringIO(text)
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)


def test_list_shows_recordings_and_sets(run):
    got = run("data", "list")
    assert got.status == 0
    for name in (*library.recordings(), *library.public_sets()):
        assert f"\n{name} " in got.out
    assert max(map(len, got.out.splitlines())) <= 80  # what a terminal has
    told = run("data", "list", "--json").json
    assert [one["name"] for one in told["recordings"]] == list(library.recordings())
    for one in told["sets"]:
        assert one["licence"]
        assert one["citation"]
        assert one["home"].startswith("https://")
    assert {one["name"]: one["fetch"] for one in told["sets"]}["msr-cambridge"] is False


def test_show(run):
    got = run("data", "show", "postgres")
    assert "Apache-2.0" in got.out
    assert "postgres.initial-map.json" in got.out
    assert run("data", "show", "postgres", "--json").json["real_seconds"] == pytest.approx(1140, abs=1)
    assert "SNIA" in run("data", "show", "msr-cambridge").out
    direct = run("data", "show", "hp-ajw")
    assert "SHA-256 949eec" in direct.out
    assert run("data", "show", "hp-ajw", "--json").json["files"][0]["name"] == "ajw.1week.srt"


def test_path_of_each_part(run):
    one = ss.recorded("postgres")
    assert run("data", "path", "postgres").out == f"{one.path}\n"
    assert run("data", "path", "postgres", "--part", "initial-map").out == f"{one.initial_map}\n"
    assert run("data", "path", "postgres", "--part", "provenance", "--json").json == {
        "name": "postgres",
        "paths": [str(one.provenance_path)],
    }


def test_a_recording_is_converted_by_its_name(run, tmp_path):
    got = run("trace", "convert", "@idle", tmp_path / "idle.parquet")
    assert got.status == 0, got.err
    assert ss.read_trace(tmp_path / "idle.parquet").fingerprint == ss.recorded("idle").fingerprint


def test_commands_take_a_recording_by_its_name(run, refused, tmp_path, monkeypatch):
    by_name = run("trace", "stats", "@postgres", "--json").json
    assert by_name == run("trace", "stats", ss.recorded("postgres").path, "--json").json
    assert "did you mean 'postgres'" in refused("trace", "info", "@postgress", status=2)
    monkeypatch.chdir(tmp_path)
    ss.recorded("postgres").read().save("@mine.parquet")
    assert run("trace", "stats", "@mine.parquet", "--json").json == by_name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "postgress"], "did you mean 'postgres'"),
        (["path", "hp-ajw"], "was not fetched yet: snapsim data fetch hp-ajw"),
        (["path", "msr-cambridge"], "is not here: go to https://iotta.snia.org"),
        (
            ["path", "msr-cambridge", "--part", "provenance"],
            "only recordings have what --part provenance prints",
        ),
        (["fetch", "postgres"], "comes with snapsim"),
        (["fetch", "msr-cambridge", "--yes"], "Go to https://iotta.snia.org"),
        (["fetch", "small", "--to", "nowhere"], "nowhere is no folder"),
        (["fetch", "small", "--file", "x"], "has no file 'x'"),
        (["fetch", "small", "--sha256", "x"], "is no SHA-256"),
        (["path", "postgres", "--part", "map"], "initial-map"),
    ],
)
def test_mistakes_are_explained(refused, small, arguments, message):
    assert message in refused("data", *arguments, status=2)
    assert not small


def test_fetch_says_what_it_would_do_and_does_nothing_unasked(run, small):
    got = run("data", "fetch", "small")
    assert got.status == 2
    assert not small
    assert not got.out
    for said in ("CC0", "cite: nobody", "https://example.org/io.csv", "56 B", "io.csv", "add --yes"):
        assert said in got.err


@pytest.mark.parametrize(("text", "agreed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_it_asks(run, small, monkeypatch, text, agreed):
    answer(monkeypatch, text)
    got = run("data", "fetch", "small")
    assert "Download? [y/N]" in got.err
    assert (got.status, bool(small)) == ((0, True) if agreed else (2, False))


def test_fetched_once_it_is_there_and_can_be_read_by_name(run, small, tmp_path):
    got = run("data", "fetch", "small", "--yes")
    path = tmp_path / "cache" / "small" / "io.csv"
    assert got.out.startswith(f"{path}\n  downloaded; SHA-256 as pinned")
    again = run("data", "fetch", "small", "--json")
    assert again.err == ""
    assert again.json["files"][0]["downloaded"] is False
    assert len(small) == 1
    assert run("data", "path", "small").out == f"{path}\n"
    assert run("trace", "stats", "@small", "--json").json["requests"] == 2


def test_fetch_into_a_folder_and_with_another_hash(run, small, tmp_path):
    (tmp_path / "here").mkdir()
    got = run("data", "fetch", "small", "--yes", "--to", tmp_path / "here", "--sha256", "0" * 64)
    assert got.status == 1
    assert "nothing is kept" in got.err
    assert not list((tmp_path / "here").iterdir())
    assert run("data", "fetch", "small", "--yes", "--to", tmp_path / "here").status == 0
    assert (tmp_path / "here" / "io.csv").read_bytes() == DATA


def test_json_of_a_download_is_clean(run, small):
    got = run("data", "fetch", "small", "--yes", "--json")
    (file,) = json.loads(got.out)["files"]
    assert file["downloaded"] is True
    assert file["pinned"] is True
