"""The library of traces: the registry says what is so, and downloads are checked, by a server of our own."""

import functools
import hashlib
import http.server
import os
import re
import threading
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.errors import DownloadError, StoreError, UsageError
from snapsim.traces import fetching, library
from snapsim.traces.formats import FORMATS
from snapsim.traces.library import PublicFile, PublicSet

FOLDER = library.registry_path().parent
NAMES = list(library.recordings())


def test_every_recording_in_the_repository_is_in_the_registry_and_the_other_way_round():
    there = {path.stem for path in (FOLDER / "traces").glob("*.parquet")}
    assert there == set(NAMES), "tools/update_registry.py brings the registry up to date"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_registry_says_of_a_recording_is_so(name):
    one = ss.recorded(name)
    trace = ss.open_trace(one)
    summary = ss.statistics.summarise(trace)
    told = one.provenance
    assert one.fingerprint == trace.fingerprint == told["trace"]["fingerprint"]
    assert one.time_scale == trace.info.time_scale == told["recording"]["time_scale"]
    assert one.span_seconds == pytest.approx(summary.span_seconds, abs=1e-6)
    assert (one.requests, one.written_bytes) == (summary.requests, summary.written_bytes)
    assert set(one.has) == {
        feature
        for feature, there in (("discards", summary.discards), ("digests", trace.info.contents))
        if there
    }
    assert one.title == told["recording"]["title"]
    assert one.licence == told["recording"]["licence"]
    assert len(one.about) > 40
    assert one.initial_map.is_file()


def test_a_recording_stands_for_its_file_and_reads_itself():
    one = ss.recordings()["postgres"]
    assert os.fspath(one) == str(one.path)
    assert one.read().fingerprint == one.open().fingerprint == ss.read_trace(one).fingerprint
    counted = ss.count_lifetimes(one.open(), every="5min", block_size="64KiB", initial=one.initial_map)
    assert counted.instants.size


def test_names_that_are_none_are_refused_with_those_that_are():
    with pytest.raises(UsageError, match=r"no recording 'postgress': choose from .*postgres"):
        ss.recorded("postgress")
    with pytest.raises(UsageError, match=r"no public set 'x': choose from .*msr-cambridge"):
        library.public_set("x")


def test_a_paced_recording_says_both_times(tmp_path):
    text = """
        [recordings.week]
        title = "t"
        about = "a"
        file = "week.parquet"
        provenance = "p.toml"
        initial_map = "m.json"
        time_scale = 504.0
        span_seconds = 604800.0
        requests = 1
        written_bytes = 1
        has = []
        licence = "Apache-2.0"
        fingerprint = ""
    """
    one = library.parse_registry(text, tmp_path)[0]["week"]
    assert one.real_seconds == 1200
    assert one.span == "7d, recorded in 20min: 1 s stands for 8.4min (x504)"
    with pytest.raises(StoreError, match="installed without its recordings"):
        one.read()
    with pytest.raises(StoreError, match=r"p\.toml is missing"):
        _ = one.provenance


def test_a_missing_registry_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_PACKAGE", tmp_path / "snapsim")
    with pytest.raises(StoreError, match="installed without its recordings"):
        library.recordings()


@pytest.mark.parametrize("name", list(library.public_sets()))
def test_a_public_set_says_its_terms_and_how_to_get_it(name):
    one = library.public_set(name)
    assert one.format in FORMATS
    assert re.fullmatch(r"https://[\w.]+(/[\w./-]*)?", one.home)
    assert min(map(len, (one.title, one.gives, one.licence, one.citation))) > 8
    assert bool(one.files) != bool(one.agree), "either it is downloaded, or the page says how"
    for file in one.files:
        # an address that cannot come to mean another file: it has a commit in it
        assert re.fullmatch(
            rf"https://github\.com/[\w-]+/[\w-]+/raw/[0-9a-f]{{8,40}}/[\w./-]*{re.escape(file.name)}",
            file.address,
        )
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size_bytes > 1000


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("hp-ajw", "hp/ajw.1week.srt"),
        ("blkreplay-mysql", "blkreplay/linux-mysql.load.gz"),
        ("blkreplay-webserver", "blkreplay/linux-webserver-2.load.gz"),
    ],
)
def test_the_hashes_are_those_of_the_files_that_the_readers_are_tested_with(public_traces, name, path):
    (file,) = library.public_set(name).files
    assert fetching.sha256_of(public_traces / path) == file.sha256
    assert (public_traces / path).stat().st_size == file.size_bytes


# downloads

DATA = b"0,R,0,4096,1577808000000626\n" * 100


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and counts requests."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.endswith("cut.csv"):  # promises more than it gives
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(DATA)
            return
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """Serve a folder with one file; give its address and what it was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "io.csv").write_bytes(DATA)
    handler = type("Handler", (Quiet,), {"asked": []})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=folder)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", handler.asked
        httpd.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Point the cache to a folder."""
    monkeypatch.setenv("SNAPSIM_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small(address, name="io.csv", *, sha256="", size=None):
    file = PublicFile(name, f"{address}/{name}", len(DATA) if size is None else size, sha256)
    return PublicSet(
        "small", "A small set", "lines", "alibaba", "https://x.org", "CC0", "none", files=(file,)
    )


@pytest.mark.parametrize("sha256", ["", hashlib.sha256(DATA).hexdigest()])
def test_a_file_is_downloaded_once_into_the_cache(server, cache, sha256):
    address, asked = server
    one = small(address, sha256=sha256)
    (file,) = one.files
    assert not fetching.fetched(one, file)
    path = fetching.fetch(one, file)
    assert path == cache / "small" / "io.csv"
    assert path.read_bytes() == DATA
    assert fetching.fetched(one, file)
    assert fetching.fetch(one, file) == path
    assert asked == ["/io.csv"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "with SHA-256 .*, not 0000.*nothing is kept"),
        ({"size": 17}, "gave 2,800 bytes, not 17.*--sha256 [0-9a-f]{64}"),
        ({"name": "none.csv"}, "the server answers 404"),
        ({"name": "cut.csv", "size": 100_000}, "cannot be downloaded: .* the connection broke"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(server, cache, changes, message):
    one = small(server[0], **changes)
    with pytest.raises(DownloadError, match=message):
        fetching.fetch(one, one.files[0])
    assert not any(path.is_file() for path in cache.rglob("*"))


def test_a_server_that_is_not_there_is_one_sentence(cache):
    one = small("http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="cannot be downloaded: the server cannot be reached"):
        fetching.fetch(one, one.files[0])


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SNAPSIM_DATA_DIR", str(tmp_path / "file"))
    one = small(server[0])
    with pytest.raises(DownloadError, match="cannot be written: "):
        fetching.fetch(one, one.files[0])


def test_another_file_of_that_name_is_left_alone(server, tmp_path):
    one = small(server[0])
    (tmp_path / "io.csv").write_text("mine")
    with pytest.raises(DownloadError, match=r"io\.csv is there and is not the file .*: move it away"):
        fetching.fetch(one, one.files[0], tmp_path)
    assert (tmp_path / "io.csv").read_text() == "mine"
    assert not server[1]


def test_what_a_killed_download_left_is_not_taken_for_the_file(server, cache):
    (cache / "small").mkdir(parents=True)
    (cache / "small" / "io.csv.part").write_bytes(DATA[:10])
    one = small(server[0])
    assert fetching.fetch(one, one.files[0]).read_bytes() == DATA


def test_a_download_uses_one_other_name_only_and_others_may_read_it(server, cache, monkeypatch):
    one = small(server[0])
    check, there = fetching._check, []

    def looked_at(path, file):
        there.extend(path.parent.iterdir())
        check(path, file)

    monkeypatch.setattr(fetching, "_check", looked_at)
    before = os.umask(0o022)
    try:
        path = fetching.fetch(one, one.files[0])
    finally:
        os.umask(before)
    assert there == [cache / "small" / "io.csv.part"], "what a kill leaves is what the next run replaces"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_set_behind_a_click_is_refused_with_where_to_go():
    with pytest.raises(UsageError, match=r"Go to https://iotta.snia.org/.* and accept the SNIA licence"):
        fetching.downloads(library.public_set("msr-cambridge"))


def test_files_and_hashes_are_chosen():
    one = small("https://x.org")
    digest = "AB" * 32
    assert fetching.downloads(one, sha256=f"sha256:{digest}")[0].sha256 == digest.lower()
    assert fetching.downloads(one, file="io.csv") == one.files
    with pytest.raises(UsageError, match=r"has no file 'x': it has io\.csv"):
        fetching.downloads(one, file="x")
    with pytest.raises(UsageError, match="is no SHA-256"):
        fetching.downloads(one, sha256="abc")
    two = PublicSet(**{**vars(one), "files": one.files * 2})
    with pytest.raises(UsageError, match="a hash is one file's"):
        fetching.downloads(two, sha256=digest)


def test_the_cache_is_the_users_unless_said(monkeypatch):
    monkeypatch.delenv("SNAPSIM_DATA_DIR", raising=False)
    assert fetching.cache_folder().parts[-2:] == ("snapsim", "traces")
    monkeypatch.setenv("SNAPSIM_DATA_DIR", "~/traces")
    assert fetching.cache_folder() == Path.home() / "traces"
