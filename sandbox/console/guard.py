"""Who may look at the page and act by it: the browser of the person who started the sandbox.

The address that is printed at the start holds a token; the browser keeps it as a cookie, and the address loses it. What
changes something must come from the page itself, which browsers say by `Origin`. The page asks no other machine for
anything, and nothing of elsewhere may frame it.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, redirect, request

from sandbox.loopback import HOST

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "frame-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
REPORT_POLICY = {
    "sandbox": "allow-top-navigation-by-user-activation",
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "frame-ancestors": "'self'",
}
"""A report of a job is a document of somebody else: it runs no script and reaches nothing but by a click."""
_STRANGER = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>The sandbox</title><h1>Whose page is this?</h1>"
    "<p>Open the address that the sandbox printed at its start: it tells this browser that you are the one who started "
    "it.</p>"
)


def install(application: Flask, token: str) -> None:
    """Close the application to everybody without the token, and to what other pages send."""

    @application.before_request
    def check() -> Any:
        name, _, port = request.host.partition(":")
        if name not in (HOST, "localhost"):  # another name that resolves to this machine
            return Response("The sandbox answers this machine only.\n", 403)
        cookie = f"sandbox-{port}"  # cookies are kept by host, whatever the port
        if secrets.compare_digest(request.args.get("token", "").encode(), token.encode()) and request.method == "GET":
            rest = urlencode([each for each in request.args.items(multi=True) if each[0] != "token"])
            answer = redirect(request.path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return answer
        if not secrets.compare_digest(request.cookies.get(cookie, "").encode(), token.encode()):
            return Response(_STRANGER, 403)
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != f"http://{request.host}":
            return Response("Only this page itself may act.\n", 403)
        return None

    @application.after_request
    def harden(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", policy(POLICY))
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "same-origin"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer


def policy(rules: dict[str, str]) -> str:
    """The rules as the header's text."""
    return "; ".join(f"{name} {value}".rstrip() for name, value in rules.items())
