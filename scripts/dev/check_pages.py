"""Open HTML pages in headless Chromium: no message, no request, no accessibility fault, at two widths and two schemes.

Needs Chromium with its driver (Debian: chromium, chromium-driver), the Python package selenium, and axe-core from npm
(`npm pack axe-core`, then --axe package/axe.min.js). Writes a screenshot of every view.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EXAMPLES = """
examples:
  python scripts/dev/check_pages.py runs/quickstart/report.html --axe axe.min.js --into screenshots

The exit code is 1 if a page has a finding.
"""
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
_SERIOUS = ("serious", "critical")
_LONGEST_SCREENSHOT = 12_000  # pixels
_FACTS = """return {
  charts: document.querySelectorAll('figure.chart svg').length,
  requests: performance.getEntriesByType('resource').map(entry => entry.name),
  height: document.documentElement.scrollHeight,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
}"""
_AXE = (
    "const done = arguments[0]; axe.run().then(found => done(found.violations), error => done([{id: String(error)}]))"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Check every page in every view, and print a line for each."""
    args = _parse(argv)
    args.into.mkdir(parents=True, exist_ok=True)
    findings = 0
    for page in args.pages:
        for width in WIDTHS:
            for scheme in SCHEMES:
                picture = args.into / f"{page.stem}-{width}-{scheme}.png"
                found = check(page, width, scheme, axe=args.axe, picture=picture)
                findings += len(found["findings"])
                print(f"{page} {width} px {scheme}: {found['charts']} charts, {len(found['findings'])} findings")
                for finding in found["findings"]:
                    print(f"  {finding}")
    return 1 if findings else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path, nargs="+", metavar="PAGE", help="HTML file")
    parser.add_argument("--axe", type=Path, required=True, metavar="PATH", help="axe.min.js of axe-core")
    parser.add_argument(
        "--into", type=Path, default=Path("screenshots"), metavar="DIR", help="folder of the screenshots"
    )
    return parser.parse_args(argv)


def check(page: Path, width: int, scheme: str, *, axe: Path, picture: Path) -> dict[str, Any]:
    """Open a page in one view, and return its number of charts and what is wrong with it. Saves a screenshot."""
    with browser(width, scheme) as driver:
        driver.get(page.resolve().as_uri())
        facts = driver.execute_script(_FACTS)
        findings = [f"console: {entry['message']}" for entry in driver.get_log("browser")]
        findings += [f"request: {name}" for name in facts["requests"]]
        findings += [f"{facts['overflow']} px wider than the window"] if facts["overflow"] > 0 else []
        set_size(driver, width, min(facts["height"], _LONGEST_SCREENSHOT))
        driver.save_screenshot(str(picture))
        # The page allows no script but its own, so the checker is run by the debugger.
        driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        driver.get(page.resolve().as_uri())
        driver.execute_script(axe.read_text(encoding="utf-8"))
        for fault in driver.execute_async_script(_AXE):
            if fault.get("impact") in _SERIOUS or "impact" not in fault:
                where = [node["target"] for node in fault.get("nodes", ())][:3]
                findings.append(f"axe {fault.get('impact')}: {fault['id']}: {json.dumps(where)}")
        return {"charts": facts["charts"], "findings": findings}


@contextmanager
def browser(width: int, scheme: str) -> Iterator[Any]:
    """A headless Chromium of a width, with a preferred colour scheme."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        set_size(driver, width, 900)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        driver.set_script_timeout(300)
        yield driver
    finally:
        driver.quit()


def set_size(driver: Any, width: int, height: int) -> None:
    """Give the page a window of this size, in pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


if __name__ == "__main__":
    sys.exit(main())
