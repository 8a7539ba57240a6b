"""A hook of MkDocs: pages link to files of the checkout that are no pages; the site names them, since it does not have them.

A link to nothing stays as it is, so that the build warns of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called with each page's text."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def named(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        outside = not path.startswith("docs/") and (CHECKOUT / path).exists()
        return f"{found[1]} (`{path}`)" if outside else found[0]

    return LINK.sub(named, markdown)
