"""The HTML report."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from astrolake.visualization.picture import Drawing, Picture, new_figure, save_picture
from astrolake.visualization.report import Provenance, build_report
from astrolake.visualization.report_tables import Fact, ReportTable

NASTY = "<script>alert('1 & 2')</script>"
PROVENANCE = Provenance("0.1.0", "file:///a lake", "2026-01-02 03:04 UTC")


@pytest.fixture
def picture(tmp_path):
    figure = new_figure(2.0, "A finding")
    figure.add_subplot().plot([1, 2])
    return save_picture(
        Drawing(figure, "A finding", "How to read it"), "plot", "Topic", tmp_path / "pictures"
    )


def written(tmp_path, pictures=(), tables=(), **more):
    out = build_report(pictures, tables, tmp_path / "sub" / "report.html", "Title", PROVENANCE, **more)
    return out.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Collects the tags, and checks that they close in order."""

    VOID = ("meta", "link", "img", "wbr", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_tags_are_balanced(tmp_path, picture):
    table = ReportTable("T", pd.DataFrame({"a": [1]}), "SELECT 1", "c")
    tags = Tags(
        written(tmp_path, [picture, Picture("x", "X", skipped="why")], [table, table], facts=[Fact("f", 1)])
    )
    assert not tags.open
    assert "script" not in tags.seen


def test_nothing_outside_the_file_is_needed(tmp_path, picture):
    tags = Tags(written(tmp_path, [picture]))
    targets = [value for name, value in tags.attributes if name in ("src", "href")]
    assert targets
    assert all(value.startswith("data:") for value in targets)


def test_picture_is_inside_byte_for_byte(tmp_path, picture):
    page = written(tmp_path, [picture])
    data = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    assert base64.b64decode(data) == picture.path.read_bytes()


def test_pictures_have_their_finding_as_alternative_text(tmp_path, picture):
    assert ("alt", "A finding") in Tags(written(tmp_path, [picture])).attributes


def test_everything_is_escaped(tmp_path):
    table = ReportTable(NASTY, pd.DataFrame({NASTY: [NASTY]}), NASTY, NASTY)
    page = written(
        tmp_path,
        [Picture("x", NASTY, skipped=NASTY)],
        [table, table],
        subtitle=NASTY,
        facts=[Fact(NASTY, 1)],
    )
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 14


def test_skipped_pictures_are_listed_with_their_reason(tmp_path):
    page = written(tmp_path, [Picture("x", "Colours", skipped="the lake has no table objects")])
    assert "<strong>Colours</strong>: the lake has no table objects" in page


def test_first_table_precedes_the_pictures(tmp_path, picture):
    tables = [ReportTable(name, pd.DataFrame({"a": [1]})) for name in ("First", "Second")]
    page = written(tmp_path, [picture], tables)
    assert page.index("<h2>First</h2>") < page.index("<h2>Topic</h2>") < page.index("<h2>Second</h2>")


def test_query_is_shown_above_its_answer(tmp_path):
    page = written(tmp_path, [], [ReportTable("T", pd.DataFrame({"n": [7]}), "SELECT count(*) AS n\nFROM t")])
    assert page.index("SELECT count(*) AS n\nFROM t</code>") < page.index('<td class="number">7</td>')


def test_long_tables_are_cut_and_say_so(tmp_path):
    page = written(tmp_path, [], [ReportTable("T", pd.DataFrame({"a": np.arange(60)}))])
    assert page.count('<td class="number">') == 50
    assert "10 more rows are not shown." in page


def test_empty_tables_say_so(tmp_path):
    assert "No rows." in written(tmp_path, [], [ReportTable("T", pd.DataFrame())])


def test_footer_tells_the_origin(tmp_path):
    page = written(tmp_path)
    assert "astrolake 0.1.0 · lake <code>file:///a lake</code> · 2026-01-02 03:04 UTC" in page


def test_facts_are_grouped_by_thousands(tmp_path):
    assert "<dt>objects</dt><dd>1,234,567</dd>" in written(tmp_path, facts=[Fact("objects", 1_234_567)])


def test_same_input_gives_the_same_bytes(tmp_path, picture):
    assert written(tmp_path, [picture]) == written(tmp_path, [picture])


def test_saving_a_drawing_twice_gives_the_same_bytes(tmp_path):
    paths = []
    for name in "ab":
        figure = new_figure(2.0, "A finding")
        figure.add_subplot().plot([1, 2])
        paths.append(save_picture(Drawing(figure, "A finding", "c"), "plot", "T", tmp_path / name).path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
