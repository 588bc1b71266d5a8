"""`make pacs-demo`: Orthanc and the node on free ports of this computer; the sample pair goes round as a DICOM study.

Orthanc has to be installed: apt-get install orthanc orthanc-dicomweb.
"""

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pydicom

from scripts.dicom_study import Study, write_sample_study
from Testing.dicom_pair import count_volumes
from Testing.orthanc import AE_TITLE, MISSING, PROGRAM, Orthanc, free_port, running_orthanc

_CONFIG = """
[node]
port = {port}
status_port = {status_port}
folder = "node"
quiet_seconds = 5
send_to = ["archive"]

[peers.archive]
ae_title = "{title}"
address = "127.0.0.1"
port = {archive_port}
may_send = true
"""
_MOST_SECONDS = 1800


def main() -> int:
    if PROGRAM is None:
        sys.stderr.write(f"error[not-found]: {MISSING}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="pacs-demo-") as temporary:
        folder, port, status_port = Path(temporary), free_port(), free_port()
        with running_orthanc(folder / "orthanc", {"node": ("CROSSMODALSEG", port)}) as archive:
            config = folder / "pacs.toml"
            values = {"port": port, "status_port": status_port, "title": AE_TITLE, "archive_port": archive.dicom_port}
            config.write_text(_CONFIG.format(**values), encoding="utf-8")
            node = subprocess.Popen([sys.executable, "-m", "CrossModalSegLib.cli", "node", config])
            try:
                return _round_trip(archive, folder, node)
            finally:
                node.terminate()
                node.wait(timeout=30)


def _round_trip(archive: Orthanc, folder: Path, node: "subprocess.Popen[bytes]") -> int:
    write_sample_study(folder / "study", Study())
    archive.add(folder / "study")
    _say(f"{AE_TITLE} has {len(archive.instances('MR'))} MR images; sending them to the node")
    time.sleep(5)  # the node is starting
    archive.send_studies("node")
    ends = time.monotonic() + _MOST_SECONDS
    while len(archive.instances("SEG")) < 2 or len(archive.instances("SR")) < 2:
        if node.poll() is not None or time.monotonic() > ends:
            _say("no result came")
            return 1
        time.sleep(1)
    for modality in ("SEG", "SR"):
        for instance in archive.instances(modality):
            _say(_in_words(pydicom.dcmread(io.BytesIO(archive.file(instance)))))
    return 0


def _in_words(made: pydicom.Dataset) -> str:
    if made.Modality == "SEG":
        what = f"{len(made.SegmentSequence)} segments in {made.NumberOfFrames} frames"
    else:
        what = f"{count_volumes(made)} volumes"
    return f"{AE_TITLE} has: {made.Modality}, series {made.SeriesNumber} '{made.SeriesDescription}', {what}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
