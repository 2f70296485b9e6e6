"""A page in a real browser: Chromium without a window, driven by its command line alone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
HEIGHT_PX = 900
FLAGS = (
    *("--headless=new", "--disable-gpu", "--hide-scrollbars", "--disable-extensions"),
    *("--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"),  # root, containers
)
PROBE = """
const page = frame.contentDocument, view = frame.contentWindow, width = view.innerWidth;
const scrolls = e => { for (let p = e; p; p = p.parentElement)
  if (['auto', 'scroll'].includes(view.getComputedStyle(p).overflowX)) return true; return false; };
const box = e => e.getBoundingClientRect();
const shown = [...page.querySelectorAll('body *')].filter(e => box(e).width && box(e).height);
const seen = {
  width: width,
  scroll_width: page.documentElement.scrollWidth,
  outside: shown.filter(e => !e.closest('svg') && !scrolls(e) && box(e).right > width + 1)
    .map(e => e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 40)),
  tops: Object.fromEntries([...page.querySelectorAll('section[id]')].map(e => [e.id, box(e).top])),
  pictures: [...page.querySelectorAll('figure svg')].filter(e => box(e).width)
    .map(e => [box(e).width, box(e).height]),
  text: page.body.innerText,
  labels: [...new Set([...page.querySelectorAll('td[data-label]')]
    .map(e => view.getComputedStyle(e, '::before').content))],
  font_px: parseFloat(view.getComputedStyle(page.body).fontSize),
  requests: view.performance.getEntriesByType('resource').map(e => e.name),
};
"""


def find_browser() -> str | None:
    """Path of Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def look_at(browser: str, page: Path, folder: Path, width_px: int, then: str = "") -> dict:
    """What a reader at that width sees: see ``PROBE``.

    ``then`` is JavaScript that runs afterwards, with ``page`` and ``view``, and adds to ``seen``.
    """
    content = html.escape(page.read_text("utf-8"), quote=True)
    wrapper = folder / f"{page.stem}-{width_px}.html"
    wrapper.write_text(
        '<!doctype html><meta charset="utf-8"><body style="margin:0"><pre id="seen"></pre>'
        f'<iframe id="frame" style="border:0;width:{width_px}px;height:{HEIGHT_PX}px" '
        f'srcdoc="{content}"></iframe><script>const frame = document.getElementById("frame");'
        f"frame.onload = () => {{ {PROBE} {then}; "
        'document.getElementById("seen").textContent = JSON.stringify(seen); };</script>',
        "utf-8",
    )
    dom = _run(browser, folder, "--virtual-time-budget=10000", "--dump-dom", wrapper.as_uri())
    return json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1]))


def print_page(browser: str, page: Path, folder: Path) -> int:
    """Print to PDF; gives the number of sheets."""
    pdf = folder / f"{page.stem}.pdf"
    _run(browser, folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def _run(browser: str, folder: Path, *arguments: str) -> str:
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
    return answer.stdout
