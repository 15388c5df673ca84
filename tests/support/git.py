"""git as tests run it against the sandbox's GitLab."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def with_token(url: str, token: str) -> str:
    return url.replace("://", f"://oauth2:{token}@")
