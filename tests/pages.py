"""Pages for tests: what stands in one, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"),
]
HOOK = """
<script>
const shown = (selector) => Array.from(document.querySelectorAll(selector))
  .filter((e) => getComputedStyle(e).display !== "none").length;
const outcome = {};
%s
const pre = document.createElement("pre");
pre.id = "outcome";
pre.textContent = JSON.stringify(outcome);
document.body.append(pre);
</script>
</body>
"""


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def browse(path: Path, profile: Path, width: int, hook: str, *options: str) -> tuple[dict, str]:
    """What the script `hook` put into `outcome`, and what the browser's console said."""
    hooked = profile.with_suffix(".html")
    hooked.write_text(path.read_text().replace("</body>", HOOK % hook))
    command = [CHROMIUM, *BROWSER_OPTIONS, f"--window-size={width},900"]
    done = subprocess.run(
        [*command, *options, f"--user-data-dir={profile}", hooked.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, "the page's scripts did not run to their end"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(found.group(1).replace("&lt;", "<").replace("&amp;", "&")), "\n".join(console)
