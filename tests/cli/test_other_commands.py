"""`snapsim mechanisms`, `snapsim policy`, `snapsim report`."""

import snapsim as ss


def test_mechanisms_are_listed(run):
    got = run("mechanisms")
    listed = run("mechanisms", "--json").json
    assert [one["name"] for one in listed] == list(ss.mechanisms())
    for one in listed:
        (line,) = (line for line in got.out.splitlines() if line.startswith(one["name"] + " "))
        assert one["title"] in line
        assert one["family"] in line
        assert line.endswith("validated" if one["validated"] else "modelled")


def test_everything_about_one_mechanism(run):
    for name in ss.mechanisms():
        one = ss.mechanism(name)
        got = run("mechanisms", name)
        assert got.status == 0
        assert got.out.startswith(f"{name}: {one.title}\n")
        for text in (*one.caveats, *(item.source for item in one.evidence), *one.options()):
            assert text in got.out
        document = run("mechanisms", name, "--json").json
        assert document["options"].keys() == one.options().keys()
        assert document["validated"] == one.validated
        assert len(document["evidence"]) == len(one.evidence)


def test_an_unknown_mechanism(refused):
    assert "did you mean 'dm-thin'?" in refused("mechanisms", "dmthin", status=2)


def test_what_a_policy_means(run, policy_file):
    got = run("policy", "show", policy_file, "--start", "2026-03-01T00:30Z", "--ticks", "2")
    assert got.out == (
        "short: @hourly, keep hourly 12, daily 2 (UTC)\n"
        "  reaches back  2d\n"
        "  due           2026-03-01T01:00:00Z\n"
        "                2026-03-01T02:00:00Z\n"
    )
    told = run("policy", "show", policy_file, "--ticks", "0", "--json").json
    assert told["ticks"] == []
    assert ss.Policy.from_toml(told["toml"]) == ss.Policy.from_toml(policy_file)


def test_the_next_ticks_of_a_rare_schedule(run, tmp_path):
    path = tmp_path / "leap.toml"
    path.write_text('schedule = "0 0 29 2 *"\nkeep_last = 1\n')
    got = run("policy", "show", path, "--start", "2026-03-01", "--ticks", "3", "--json").json
    assert got["ticks"] == ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"]


def test_a_policy_that_cannot_be_read(refused, tmp_path):
    assert "does not exist" in refused("policy", "show", tmp_path / "none.toml", status=2)
    assert "fewer than none" in refused("policy", "show", "gfs", "--ticks=-1", status=2)


def test_a_trace_as_a_page(run, msr, tmp_path):
    page = tmp_path / "trace.html"
    got = run("report", msr, "-o", page, "--title", "An hour & more")
    assert got.status == 0, got.err
    assert got.out == f"report: {page}\n"
    assert "An hour &amp; more" in page.read_text()
    again = run("report", msr, "--output", page, "--json")
    assert again.json == {"report": str(page)}
    assert [path.name for path in tmp_path.iterdir()] == ["trace.html"]


def test_a_page_that_cannot_be_written(refused, msr, tmp_path):
    assert "there is no folder" in refused("report", msr, "-o", tmp_path / "no" / "page.html", status=2)
    assert "requires" in refused("report", msr, status=2)
