"""The docs build as a site without a network and without a warning, and the environment is told from its docstrings."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="no mkdocs: the extra docs of pyproject.toml")]


class Fetched(HTMLParser):
    """What a browser would fetch for a page."""

    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        if tag in ("script", "img", "iframe") and told.get("src"):
            self.urls.append(told["src"])
        if tag == "link" and told.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.urls.append(told.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    made = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder], cwd=ROOT, timeout=300,
                          env={**os.environ, **proxies, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    assert made.returncode == 0 and "WARNING" not in made.stderr, made.stderr[-3000:]
    return folder


def test_every_page_is_there_and_fetches_nothing_from_elsewhere(site):
    for source in (ROOT / "docs").rglob("*.md"):
        name = source.relative_to(ROOT / "docs").with_suffix(".html")
        page = site / (name.with_name("index.html") if source.stem == "README" else name)
        reader = Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.urls and not [url for url in reader.urls if re.match(r"(https?:)?//", url)], page


def test_the_environment_is_told_from_its_docstrings(site):
    page = (site / "environment.html").read_text(encoding="utf-8")
    for name in ("ServingEnv", "Observation", "ReplicaKind", "Deployment"):
        assert f">{name}<" in page or f"{name}</span>" in page, name
    assert "Requests that one" in page or "parallel servers" in page  # text of a docstring
