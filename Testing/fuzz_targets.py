"""What is fuzzed: each target takes the number of an example, makes damaged input of it, and checks what becomes of it.

It may be refused by a typed error, or be read as what it says. Any other exception is a finding.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.bundles.bundle import METADATA_FILE, load_bundle
from CrossModalSegLib.bundles.bundle_library import import_bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION, WEIGHTS_FILE
from CrossModalSegLib.commands.case_table import read_case_table
from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.labels import read_label_map
from CrossModalSegLib.protocol import Done, Failed, Progress, Ready, Request, decode_event, decode_request, encode
from CrossModalSegLib.training.config import read_config
from Testing.dicom_files import write_series
from Testing.mutation import as_json, mutated_bytes, mutated_json
from Testing.tiny_bundle import LABEL_MAP, random_bundle
from Testing.volumes import grid_around

Target = Callable[[int], str]  # gives the code of the refusal, or "read"

MESSAGES = [
    encode(Request("7f3a", "segment", {"inputs": {"T1w": "/a/b.nii.gz"}, "output": "/c", "device": "cpu"})),
    encode(Ready("0.1.0", 4711)),
    encode(Progress("7f3a", "network", 0.4, 0.5, 9.0)),
    encode(Done("7f3a", {"structures": [{"value": 1, "volume_ml": {"T1w": 2.5}}], "agreement": None})),
    encode(Failed("7f3a", "not-found", "no such file", "check the path")),
]
TABLE = b"case,T1w,T2w\np01,p01/t1.nii.gz,p01/t2.nii.gz\np02,,p02/t2.nii.gz\n"
CONFIG = b'name = "a"\nmodalities = ["A", "B"]\nspacing = 1.5\npatch = [32, 32, 32]\n[network]\nchannels = [8, 16]\n'


def outcome(read: Callable[[], object]) -> str:
    """ "read", or the code of a typed error; what else is raised passes."""
    refusal: CrossModalSegError | None = None
    try:
        read()
    except CrossModalSegError as error:
        refusal = error
    assert refusal is None or (refusal.message and refusal.hint), "an error without words or remedy"
    return refusal.code if refusal else "read"


def protocol_line(number: int) -> str:
    """A line between module and worker."""
    line = MESSAGES[number % len(MESSAGES)]
    line = as_json(mutated_json(json.loads(line), number)) if number % 2 else mutated_bytes(line, number)
    codes = {outcome(lambda: decode_request(line)), outcome(lambda: decode_event(line))}
    assert codes <= {"read", "bad-request", "bad-event"}
    return "read" if "read" in codes else "refused"


@dataclass
class Workshop:
    """A folder in which whole files are kept, and damaged copies made."""

    folder: Path

    def __post_init__(self) -> None:
        self.bundle = random_bundle(self.folder / "whole").path
        self.files = {
            file.relative_to(self.bundle).as_posix(): file.read_bytes()
            for file in self.bundle.rglob("*") if file.is_file()
        }  # fmt: skip
        grid = grid_around((0, 0, 0), (6, 7, 8), (1.0, 2.0, 3.0))
        array = np.arange(336, dtype=np.int16).reshape(8, 7, 6)
        self.scans = {}
        for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
            write_volume(self.folder / f"scan{suffix}", array, grid)
            self.scans[suffix] = (self.folder / f"scan{suffix}").read_bytes()
        self.series = [file.read_bytes() for file in write_series(self.folder / "series", array, grid)]
        self.damaged = self.folder / "damaged"

    def bundle_folder(self, number: int) -> str:
        """A bundle whose metadata or weights are damaged, mostly with hashes that fit: what a person could publish."""
        files = dict(self.files)
        metadata = json.loads(files[METADATA_FILE])
        kind = number % 4
        if kind < 2:
            metadata[SECTION] = mutated_json(metadata[SECTION], number)
        else:
            files[WEIGHTS_FILE] = mutated_bytes(files[WEIGHTS_FILE][:4000], number) + files[WEIGHTS_FILE][4000:]
            if kind == 3:
                metadata[SECTION]["sha256"][WEIGHTS_FILE] = hashlib.sha256(files[WEIGHTS_FILE]).hexdigest()
        files[METADATA_FILE] = as_json(metadata) if number % 7 else mutated_bytes(as_json(metadata), number)
        for name, content in files.items():
            (self.damaged / name).parent.mkdir(parents=True, exist_ok=True)
            (self.damaged / name).write_bytes(content)
        return outcome(lambda: self._load(self.damaged))

    def _load(self, folder: Path) -> None:
        """As a run does before its first scan; it takes the weights or says why not."""
        from CrossModalSegLib.inference.inference import intensity_rules, load_network

        bundle = load_bundle(folder)
        load_network(bundle)
        intensity_rules(bundle)

    def bundle_zip(self, number: int) -> str:
        """A damaged zip file that a user imports."""
        import zipfile

        whole = self.folder / "whole.zip"
        if not whole.exists():
            with zipfile.ZipFile(whole, "w") as archive:
                for name, content in self.files.items():
                    archive.writestr(name, content)
        content = whole.read_bytes()
        damaged = self.folder / "damaged.zip"
        start = 0 if number % 2 else len(content) - 1500  # half of them in the list of contents, which is at the end
        damaged.write_bytes(content[:start] + mutated_bytes(content[start:], number))
        own = self.folder / "own" / str(number)
        return outcome(lambda: import_bundle(damaged, own))

    def checkpoint(self, number: int) -> str:
        """A damaged checkpoint of a training."""
        import torch

        from CrossModalSegLib.training.checkpoint import NAME, read_curve

        whole = self.folder / "whole.pt"
        if not whole.exists():
            weights = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}
            parts = {"config": {"network": {"channels": [4, 8]}}, "optimiser": {"param_groups": [], "state": {}}}
            torch.save({**parts, "network": weights, "average": weights, "step": 3, "curve": []}, whole)
        content = mutated_bytes(whole.read_bytes(), number)
        return self._file(NAME, content, lambda file: read_curve(file.parent))

    def label_map(self, number: int) -> str:
        """A damaged label map."""
        return self._file("map.json", as_json(mutated_json(LABEL_MAP.to_json(), number)), read_label_map)

    def case_table(self, number: int) -> str:
        """A damaged table of cases."""
        return self._file("cases.csv", mutated_bytes(TABLE, number), read_case_table)

    def configuration(self, number: int) -> str:
        """A damaged configuration of a training."""
        return self._file("config.toml", mutated_bytes(CONFIG, number), read_config)

    def datalist(self, number: int) -> str:
        """A damaged list of cases."""
        scan = str(self.folder / "scan.nii")
        content = {"training": [{"A": scan, "B": scan, "label": scan}], "validation": [{"A": scan, "label": scan}]}
        changed = as_json(mutated_json(content, number))
        return self._file("list.json", changed, lambda file: read_datalist(file, ("A", "B")))

    def scan(self, number: int) -> str:
        """A damaged scan; every fourth one is DICOM."""
        suffixes = [*self.scans, ".dcm"]
        suffix = suffixes[number % len(suffixes)]
        if suffix != ".dcm":
            content = mutated_bytes(self.scans[suffix], number)
            return self._file(f"damaged{suffix}", content, lambda file: read_volume(file, "T1w"))
        folder = self.folder / "slices"
        folder.mkdir(exist_ok=True)
        for place, content in enumerate(self.series):
            damaged = mutated_bytes(content[128:], number) if place == number % 7 else content[128:]
            (folder / f"IM{place}").write_bytes(content[:128] + damaged)
        return outcome(lambda: read_volume(folder, "T1w"))

    def _file(self, name: str, content: bytes, read: Callable[[Path], object]) -> str:
        (self.folder / name).write_bytes(content)
        return outcome(lambda: read(self.folder / name))


def targets(folder: Path) -> dict[str, Target]:
    """All that is fuzzed, by name; ``folder`` is theirs to write into."""
    workshop = Workshop(folder)
    return {
        "protocol": protocol_line,
        "bundle": workshop.bundle_folder,
        "bundle zip": workshop.bundle_zip,
        "checkpoint": workshop.checkpoint,
        "label map": workshop.label_map,
        "case table": workshop.case_table,
        "configuration": workshop.configuration,
        "datalist": workshop.datalist,
        "scan": workshop.scan,
    }
