"""What people store as a token of GitLab, and what the functions find in it."""

from __future__ import annotations

import pytest

from gitlab_secrets import tokens

TOKEN = "glptt-0a_B.c"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"{TOKEN}\r\n",
        f"\ufeff{TOKEN}",  # as PowerShell writes a file
        f'"{TOKEN}"\n',  # as jq prints it
        f'{{"token": "{TOKEN}\\n"}}',
        f'\ufeff{{"token": "{TOKEN}"}}',
        f'{{"user": "ada", "token": " {TOKEN}"}}',
    ],
)
def test_a_token_is_found_in_every_form_that_people_store(text: str) -> None:
    assert tokens.token(text) == TOKEN


def test_a_prefix_of_an_administrators_choice_is_part_of_the_token() -> None:
    assert tokens.token("our+corp/ml@x:y=-0a_B.c") == "our+corp/ml@x:y=-0a_B.c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"glptt", "binary"),
        ("", "empty"),
        (" \n", "empty"),
        ('""', "no entry 'token'"),
        ("{glptt", "begins like JSON and is none"),
        ('"glptt', "begins like JSON and is none"),
        ('{"Token": "glptt"}', "no entry 'token'"),
        ('{"token": 5}', "no entry 'token'"),
        ('{"gitlab": {"token": "glptt"}}', "no entry 'token'"),
        ("'glptt'", "no token of GitLab has"),
        ('["glptt"]', "no token of GitLab has"),
        ("<glptt>", "no token of GitLab has"),
        ("Bearer glptt", "no token of GitLab has"),
        ("glptt\nglptt", "no token of GitLab has"),
        ("glptt\u200b", "no token of GitLab has"),
    ],
)
def test_what_holds_no_token_is_told_without_its_text(text: object, message: str) -> None:
    with pytest.raises(tokens.Unreadable, match=message) as caught:
        tokens.token(text)
    assert "glptt" not in str(caught.value)
