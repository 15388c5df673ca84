"""Templates: values in the form of JSON, and entries that are added while all else stays as it is written."""

from __future__ import annotations

import pytest

from ci_scripts import documents
from ci_scripts.documents import Malformed

TEMPLATE = """\
# Müller's template 🎉
Resources:
  A: &a # a comment
    Type: X
    Properties: {Name: !Sub "${B}-x", List: [!Ref B, !GetAtt C.D.E, no]}
  F:
    Type: Y
"""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["Resources", "A", "Type"], "X"),
        (["Resources", "A", "Properties", "Name"], {"Fn::Sub": "${B}-x"}),
        (["Resources", "A", "Properties", "List"], [{"Ref": "B"}, {"Fn::GetAtt": ["C", "D.E"]}, "false"]),
        (["Resources", "F"], {"Type": "Y"}),
        (["Resources", "Z", "Type"], None),
        (["Resources", "A", "Type", "Deeper"], None),
    ],
)
def test_a_value_has_the_form_of_json(path: list[str], value: object) -> None:
    assert documents.long_form(TEMPLATE, *path) == value


@pytest.mark.parametrize("path", [["Resources"], ["Resources", "A"], ["Resources", "A", "Properties"], []])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_entries_are_added_and_all_else_stays(path: list[str], newline: str) -> None:
    text = TEMPLATE.replace("\n", newline)
    entries = {"New": {"a": [1, True]}, "Other": "ü: #"}
    added = documents.with_entries(text, path, entries)
    place = after = documents.parse_template(added)
    for key in path:
        place = place[key]
    assert (place.pop("New"), place.pop("Other")) == ({"a": ["1", "true"]}, "ü: #")
    assert after == documents.parse_template(text)
    for line in text.splitlines():
        assert line.strip() in added or "Properties" in line


@pytest.mark.parametrize("path", [["Nothing"], ["Resources", "A", "Type"], ["Resources", "A", "Properties", "List"]])
def test_there_has_to_be_a_mapping_with_entries(path: list[str]) -> None:
    with pytest.raises(Malformed, match="is not a mapping with entries"):
        documents.with_entries(TEMPLATE, path, {"New": 1})
