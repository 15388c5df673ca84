"""Who may look at the page of the sandbox, and act by it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from sandbox.console import guard

_ADDRESS = "http://127.0.0.1:8930"
_OWN = {"Origin": _ADDRESS}


@pytest.fixture
def stranger() -> FlaskClient:
    application = Flask("page")
    guard.install(application, "the-token")
    application.add_url_rule("/", view_func=lambda: "seen")
    application.add_url_rule("/do", view_func=lambda: "done", methods=["POST"], endpoint="do")
    return application.test_client()


@pytest.fixture
def owner(stranger: FlaskClient) -> FlaskClient:
    assert stranger.get("/?token=the-token", base_url=_ADDRESS).status_code == 303
    return stranger


def test_the_token_is_taken_out_of_the_address_and_kept_from_scripts(stranger: FlaskClient) -> None:
    answer = stranger.get("/?token=the-token&more=1", base_url=_ADDRESS)
    assert answer.headers["Location"] == "/?more=1"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_the_owner_looks_and_acts(owner: FlaskClient) -> None:
    assert owner.get("/", base_url=_ADDRESS).text == "seen"
    assert owner.post("/do", base_url=_ADDRESS, headers=_OWN).text == "done"


@pytest.mark.parametrize("query", ["", "?token=", "?token=another"])
def test_a_stranger_sees_nothing(stranger: FlaskClient, query: str) -> None:
    answer = stranger.get(f"/{query}", base_url=_ADDRESS)
    assert answer.status_code == 403
    assert "seen" not in answer.text
    assert stranger.post("/do", base_url=_ADDRESS, headers=_OWN).status_code == 403


@pytest.mark.parametrize("origin", ["https://example.com", "http://127.0.0.1:9999", "null", None])
def test_another_page_cannot_act_even_in_the_owners_browser(owner: FlaskClient, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    assert owner.post("/do", base_url=_ADDRESS, headers=headers).status_code == 403


def test_a_name_that_somebody_else_made_resolve_to_this_machine_is_refused(owner: FlaskClient) -> None:
    assert owner.get("/?token=the-token", base_url="http://rebind.example.com:8930").status_code == 403


def test_no_answer_lets_anything_of_elsewhere_in(owner: FlaskClient) -> None:
    headers = owner.get("/", base_url=_ADDRESS).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
