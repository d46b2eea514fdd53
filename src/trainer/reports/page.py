"""Render one HTML page that needs no other file and no network. Knows nothing about runs.

Templates are in `templates/`. Everything that a template prints is escaped; unsafe characters are written out and very
long texts are cut, whatever the template forgot.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainer.reports.text import plain, shortened

_FOLDER = Path(__file__).parent / "templates"
_MOST_PRINTED = 50_000  # of one value, in characters; views cut earlier


def render_page(template: str, *, title: str, **values: Any) -> str:
    """Return the page of `templates/<template>` as text that can be encoded as UTF-8.

    The template extends `page.html.jinja` and receives `values`; an undefined name is an error. The page's security
    policy allows its own style sheet and script by their hashes and nothing else: no request, no other script.
    """
    style, script = _assets(template.partition(".")[0])
    policy = _policy(style, script)
    page = _environment().get_template(template)
    return page.render(title=title, style=Markup(style), script=Markup(script), policy=Markup(policy), **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )


@cache
def _assets(page: str) -> tuple[str, str]:
    """Return the style sheet and the script of all pages, with what one page adds to them (`PAGE.css`, `PAGE.js`)."""
    return _joined("style.css", f"{page}.css"), _joined("script.js", f"{page}.js")


def _joined(*names: str) -> str:
    files = [_FOLDER / name for name in names]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def _printed(value: Any) -> Any:
    """Return what is printed for a value: nothing for None, plain text for text; markup of a macro as it is."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return shortened(plain(value), most=_MOST_PRINTED)
    return value


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
