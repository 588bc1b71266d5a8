"""``crossmodalseg-web`` as a process of its own, for tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from CrossModalSegApp.web.files_section import sample_pair

REPOSITORY = Path(__file__).resolve().parents[1]
_SECONDS_TO_START = 600.0  # on a computer that has much else to do; alone, it takes a few
_SECONDS_TO_END = 60.0


class WebServer:
    """Starts with the ``arguments`` of the command; ``temporary`` is its folder for temporary files.

    A later one in the same ``folder`` finds what an earlier one has left for the user.
    """

    def __init__(self, folder: Path, *arguments: str | Path, **variables: str):
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log.txt"
        environment = os.environ | variables
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "CrossModalSeg")))}
        environment |= {"TMPDIR": str(self.temporary), "XDG_DATA_HOME": str(folder / "user")}
        command = [sys.executable, "-m", "CrossModalSegApp.web", "--no-browser", *map(str, arguments)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        self.address = self._address()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def url(self, name: str) -> str:
        """The address of something beside the page."""
        return self.address.removesuffix("index.html") + name

    def get(self, name: str) -> bytes:
        with urlopen(Request(self.url(name)), timeout=120) as answer:
            return answer.read()

    def status_of(self, name: str) -> int:
        """The HTTP status that a request for ``name`` gets."""
        try:
            with urlopen(self.url(name), timeout=120) as answer:
                return answer.status
        except HTTPError as error:
            return error.code

    def stop(self) -> int:
        """As Ctrl+C does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(_SECONDS_TO_END)
        finally:
            self.process.kill()

    def _address(self) -> str:
        end = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < end and self.process.poll() is None:
            found = [word for word in self.log.split() if word.startswith("http://127.0.0.1:")]
            if found and "Stop it" in self.log:
                return found[0]
            time.sleep(0.1)
        self.process.kill()
        raise RuntimeError(f"crossmodalseg-web did not start:\n{self.log}")


def sample_inputs() -> list[str | Path]:
    """The arguments that open the head phantom, which comes with the source."""
    return [text for modality, path in sample_pair().items() for text in ("--input", f"{modality}={path}")]
