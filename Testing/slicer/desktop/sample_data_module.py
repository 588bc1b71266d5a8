"""``SampleData``: registers data sets and loads them; only ``file:`` addresses, so that no test needs a network."""

import types
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

NO_PROPERTIES: dict[str, Any] = {}


@dataclass
class SampleDataSource:
    """A data set; the fields that hold several values are lists of one length."""

    sampleName: str
    uris: list[str]
    fileNames: list[str]
    nodeNames: list[str]
    checksums: list[str]
    loadFileType: list[str]
    loadFiles: list[bool | None]
    thumbnailFileName: str | None
    customDownloader: Any
    loadFileProperties: dict[str, Any]

    def __post_init__(self) -> None:
        columns = (self.uris, self.fileNames, self.nodeNames, self.checksums, self.loadFileType, self.loadFiles)
        if len({len(column) for column in columns}) != 1:
            raise ValueError(f"All fields of sample data source must have the same length: {columns}")


def _listed(value: Any, length: int) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * length


class SampleDataLogic:
    def __init__(self, logMessage: Any = None):
        self.messages: list[str] = []
        self.log = logMessage or self.messages.append

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = "VolumeFile",
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] = NO_PROPERTIES,
        checksums: Any = None,
    ) -> None:
        count = len(uris) if isinstance(uris, (list, tuple)) else 1
        source = SampleDataSource(
            sampleName,
            *(_listed(value, count) for value in (uris, fileNames, nodeNames, checksums, loadFileType, loadFiles)),
            thumbnailFileName=thumbnailFileName,
            customDownloader=customDownloader,
            loadFileProperties=dict(loadFileProperties),
        )
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in sources:
            sources.append(source)

    def sourceForSampleName(self, name: str) -> SampleDataSource | None:
        every = [source for sources in slicer.modules.sampleDataSources.values() for source in sources]
        return next((source for source in every if source.sampleName == name), None)

    def downloadSamples(self, name: str) -> list[Any]:
        source = self.sourceForSampleName(name)
        return self.downloadFromSource(source) if source else []

    def downloadFromSource(self, source: SampleDataSource, maximumAttemptsCount: int = 3) -> list[Any]:
        """Loads every file of a data set; returns the nodes. ValueError for a wrong checksum."""
        del maximumAttemptsCount
        rows = zip(source.uris, source.fileNames, source.nodeNames, source.checksums, source.loadFileType, strict=True)
        return [self._load(*row, source.loadFileProperties) for row in rows]

    def _load(self, uri: str, file: str, node: str, checksum: str, kind: str, properties: dict[str, Any]) -> Any:
        path = self._fetch(uri, file, checksum)
        nodes = vtk.vtkCollection()
        wanted = {**properties, "fileName": str(path), "name": node}
        if not slicer.app.coreIOManager().loadNodes(kind, wanted, nodes):
            raise ValueError(f"{path} could not be read")
        loaded = nodes.GetItemAsObject(0)
        storage = loaded.GetStorageNode()
        if storage is not None:
            slicer.mrmlScene.RemoveNode(storage)
        return loaded

    def _fetch(self, uri: str, file: str, checksum: str) -> Path:
        if not uri.startswith("file:"):
            raise AssertionError(f"a test would download {uri}")
        path = Path(slicer.app.temporaryPath) / file
        urllib.request.urlretrieve(uri, path)
        algorithm, digest = slicer.util.extractAlgoAndDigest(checksum)
        if algorithm is not None and slicer.util.computeChecksum(algorithm, str(path)) != digest:
            raise ValueError(f"{uri} does not have the checksum {checksum}")
        return path


def build_sample_data() -> types.ModuleType:
    """The module ``SampleData``."""
    module = types.ModuleType("SampleData", __doc__)
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    return module
