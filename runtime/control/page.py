"""The live page's files: the same for everybody, without data. What it shows, it asks for with the reader's token."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from runtime import palette

FOLDER = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
FILES = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.iterdir()) if file.suffix in KINDS}
FILES["page.css"] = palette.CSS + FILES["page.css"]


async def page(request: web.Request) -> web.Response:
    """GET /."""
    return _answer("page.html")


async def part(request: web.Request) -> web.Response:
    """GET /page/{name}."""
    if request.match_info["name"] not in FILES:
        raise web.HTTPNotFound
    return _answer(request.match_info["name"])


def _answer(name: str) -> web.Response:
    return web.Response(text=FILES[name], content_type=KINDS[Path(name).suffix], headers=HEADERS)
