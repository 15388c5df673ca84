"""Reports as pages of their own: without script, font or picture from anywhere else, light and dark, also on a phone.

A verb has its page as NAME.template.html in its own folder, which extends base.template.html; Jinja2 escapes what it
shows. plots.py draws.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ci_scripts.page import plots

_LONGEST_TEXT = 20_000  # characters of one value; the job log has it whole


def render(package: str, name: str, **values: Any) -> str:
    """The page whose template is the file `name` of `package`, a module's `__package__`."""

    def source(template: str) -> str:
        place = files(package if template == name else __package__)
        return place.joinpath(template).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True,
        finalize=_shown,
        loader=FunctionLoader(source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"width": plots.WIDTH, "height": plots.HEIGHT}
    return environment.get_template(name).render(values)


def _shown(content: Any) -> str:
    """What an expression of the template comes to: Jinja2 calls this before it escapes.

    Control characters (colours of a terminal, bytes of an answer) are not allowed in HTML.
    """
    if isinstance(content, Markup):  # what a macro of the template returned
        return content
    shown = re.sub(r"\x1b\[[0-9;]*m|[^\n\t -~\xa0-\U0010ffff]", "", str(content))
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}\n... (cut)"
