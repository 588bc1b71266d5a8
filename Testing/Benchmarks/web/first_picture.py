"""Seconds from the start of ``crossmodalseg-web`` to pictures of the phantom in all six views of Chromium.

    python Testing/Benchmarks/web/first_picture.py [--starts 3]

Chromium itself is running already. Prints each start, and the longest; ends with 1 where that exceeds the limit.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from Testing.web_page import Page, start_chromium
from Testing.web_server import WebServer, sample_inputs

LIMIT_SECONDS = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=3)
    starts = parser.parse_args().starts
    with tempfile.TemporaryDirectory() as folder:
        browser = start_chromium(Path(folder) / "chromium")
        try:
            found = [_measure(browser, Path(folder) / f"server-{number}") for number in range(starts)]
        finally:
            browser.quit()
    print("seconds: " + ", ".join(f"{seconds:.1f}" for seconds in found))
    print(f"longest: {max(found):.1f} s (limit {LIMIT_SECONDS:g} s)")
    return int(max(found) > LIMIT_SECONDS)


def _measure(browser: Any, folder: Path) -> float:
    begin = time.monotonic()
    server = WebServer(folder, *sample_inputs())
    try:
        Page(browser, server.address).open()
        return time.monotonic() - begin
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
