"""Lambda functions of a test."""

from __future__ import annotations

import io
import zipfile


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(f"{name}.py", text)
    return buffer.getvalue()
