"""What people store as a token of GitLab, and what the functions find in it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from gitlab_secrets import certificates, tokens

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


PEM = trustme.CA().cert_pem.bytes().decode()


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.strip(),
        PEM.replace("CERTIFICATE", "X509 CERTIFICATE"),
        PEM.replace("\n", "\r\n"),
        f"\ufeff{PEM}",
        f"# Zertifizierungsstelle f\u00fcr GitLab\n{PEM}",
        f"{PEM}{trustme.CA().cert_pem.bytes().decode()}",
    ],
)
def test_certificates_are_found_with_whatever_stands_around_them(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = certificates.bundle(text)
    context = ssl.create_default_context(cafile=path)
    assert ssl.PEM_cert_to_DER_cert(PEM) in context.get_ca_certs(binary_form=True)


@pytest.mark.parametrize(
    "text",
    ["", "glpat", PEM.replace("CERTIFICATE", "PRIVATE KEY"), PEM.replace("M", "\u00c4", 1), PEM.replace("\n", "\\n")],
)
def test_what_holds_no_certificate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no certificate found"):
        certificates.bundle(text)
