"""Memory of the server of ``crossmodalseg-web`` over 20 runs of Segment, the worker process not counted.

    python Testing/Benchmarks/web/memory.py [--runs 20] [--quick]

Chromium opens the page with the phantom and clicks Segment again and again, as a user would: each result replaces the
one before. Prints the resident memory after each run, and the largest. ``--quick`` takes a small model instead of the
starter model, which shows growth as well and takes seconds instead of a minute per run. Ends with 1 where the limit is
exceeded.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from Testing.tiny_bundle import intensity_bundle
from Testing.web_page import RUN_SECONDS, Page, start_chromium
from Testing.web_server import WebServer, sample_inputs

LIMIT_GB = 1.5
MODELS = {True: "quick", False: "brain-mr-pair"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="a small model instead of the starter model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        largest = _measure(Path(folder), options.runs, options.quick)
    print(f"largest: {largest:.2f} GB (limit {LIMIT_GB:g} GB)")
    return int(largest > LIMIT_GB)


def _measure(folder: Path, runs: int, is_quick: bool) -> float:
    """Largest resident memory of the server in GB (10⁹ bytes)."""
    if is_quick:
        intensity_bundle(folder / "bundles" / "quick", (32, 36, 32), 4.0)
    server = WebServer(folder / "server", *sample_inputs(), CROSSMODALSEG_BUNDLES=str(folder / "bundles"))
    browser = start_chromium(folder / "chromium")
    try:
        page = Page(browser, server.address).open()
        page.choose_model(MODELS[is_quick])
        process, found = psutil.Process(server.process.pid), []
        for number in range(runs + 1):
            if number:
                page.click("segment")
                page.wait(lambda: page.has("cancel"), "the run to start")
                page.wait(lambda: page.text("outcome").startswith("Done"), "the result", RUN_SECONDS)
            found.append(process.memory_info().rss / 1e9)
            print(f"after {number} runs: {found[-1]:.2f} GB", flush=True)
        return max(found)
    finally:
        browser.quit()
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
