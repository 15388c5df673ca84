"""A job's log on the page: sections, colours and links as GitLab shows them, and nothing of a log acts on the page."""

from __future__ import annotations

import pytest

from sandbox.console import logs


def test_a_section_folds_its_lines_and_says_how_long_it_took() -> None:
    log = (
        "section_start:100:build[collapsed=true]\r\x1b[0K\x1b[1mBuild\x1b[0m\n"
        "inside\n"
        "section_end:107:build\r\x1b[0K\n"
        "after\n"
    )
    assert str(logs.html(log)) == (
        '<details><summary><span class="took">00:07</span><span class="bold">Build</span></summary>'
        "<div>inside</div></details><div>after</div>"
    )


def test_a_section_that_is_not_over_stays_open() -> None:
    log = "section_start:100:outer\r\x1b[0KOuter\nsection_start:101:inner\r\x1b[0KInner\nline\n"
    shown = str(logs.html(log))
    assert shown.count("<details open>") == shown.count("</details>") == 2
    assert shown.endswith("<div>line</div></details></details>")


def test_the_end_of_an_outer_section_ends_the_inner_one() -> None:
    log = "section_start:1:a\r\x1b[0KA\nsection_start:2:b\r\x1b[0KB\nsection_end:9:a\r\x1b[0K\nafter\n"
    assert str(logs.html(log)).endswith("</details></details><div>after</div>")


@pytest.mark.parametrize(
    ("line", "html"),
    [
        ("<script>alert(1)</script>", "<div>&lt;script&gt;alert(1)&lt;/script&gt;</div>"),
        ("section_start:1:<b>\r", "<div>section_start:1:&lt;b&gt;</div>"),
        ("\x1b[31mred\x1b[0m plain", '<div><span class="c1">red</span> plain</div>'),
        ("\x1b[1;32m$ make\x1b[0;m", '<div><span class="bold c2">$ make</span></div>'),
        ("10%\r50%\r100%", "<div>100%</div>"),
        ("bell\x07 and \x1b[2Kerase", "<div>bell and erase</div>"),
    ],
)
def test_a_line_is_text_with_colours(line: str, html: str) -> None:
    assert str(logs.html(line)) == html


def test_a_section_name_without_a_title_is_its_title() -> None:
    assert "<summary>" in str(logs.html("section_start:1:name\r\x1b[0K\nsection_end:2:name\r\x1b[0K\n"))
    assert "name</summary>" in str(logs.html("section_start:1:name\r\x1b[0K\nsection_end:2:name\r\x1b[0K\n"))


def test_a_link_leads_to_its_place_on_the_page_and_others_are_text() -> None:
    assert logs.linkify("see https://gitlab.sandbox.test/a/b/-/jobs/7.") == (
        'see <a href="/a/b/-/jobs/7">https://gitlab.sandbox.test/a/b/-/jobs/7</a>.'
    )
    assert logs.linkify("see https://example.com/<x>") == "see https://example.com/&lt;x&gt;"


def test_of_a_long_log_the_end_is_shown() -> None:
    shown = str(logs.html("\n".join(f"line {number}" for number in range(100_000))))
    assert "The beginning of this log is not shown." in shown
    assert "line 99999" in shown
    assert len(shown) < 3 * logs.LONGEST
