"""The sample pair in Slicer's module Sample Data. It comes with the module; nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

CATEGORY = "CrossModalSeg"
SAMPLE = "Head phantom T1w + T2w"

_RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
FOLDER = _RESOURCES / "SampleData"
THUMBNAIL = _RESOURCES / "Icons" / "HeadPhantom.png"
# Name of the node, file, SHA-256.
VOLUMES = (
    ("HeadPhantom_T1w", "phantom_T1w.nrrd", "da5a062b2268d19105d10b2eff8a26277505c72964330c8a3eca1c09ca89f624"),
    ("HeadPhantom_T2w", "phantom_T2w.nrrd", "19e11d0100be11bb321b70b001f77570492faf52fb3b05da8d7d15a392d1d1ec"),
)


def register(loaded: Callable[[list[Any]], None] | None = None) -> None:
    """List the pair in the module Sample Data.

    A click there loads both volumes and then calls ``loaded`` with their nodes, where it is given.
    """
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        uris=[(FOLDER / file).as_uri() for _, file, _ in VOLUMES],
        # The name in Slicer's cache of downloads, where other modules' files lie, too.
        fileNames=[f"CrossModalSeg_{file}" for _, file, _ in VOLUMES],
        nodeNames=[node for node, _, _ in VOLUMES],
        checksums=[f"SHA256:{digest}" for _, _, digest in VOLUMES],
        loadFileType=["VolumeFile"] * len(VOLUMES),
        thumbnailFileName=str(THUMBNAIL),
        customDownloader=_loader(loaded) if loaded is not None else None,
    )


def load() -> list[Any]:
    """Load the pair; returns the T1w and the T2w node."""
    from SampleData import SampleDataLogic

    register()
    return list(SampleDataLogic().downloadSamples(SAMPLE))


def _loader(loaded: Callable[[list[Any]], None]) -> Callable[[Any], list[Any]]:
    def load_and_tell(source: Any) -> list[Any]:
        from SampleData import SampleDataLogic

        nodes = list(SampleDataLogic().downloadFromSource(source))
        loaded(nodes)
        return nodes

    return load_and_tell
