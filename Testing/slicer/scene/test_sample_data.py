"""The sample pair in Slicer's module Sample Data."""

import hashlib

import numpy as np
import pytest

from CrossModalSegApp.scene import sample_data
from CrossModalSegLib.imaging.volume import read_volume


def ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_the_checksums_are_those_of_the_files():
    for _, file, digest in sample_data.VOLUMES:
        assert hashlib.sha256((sample_data.FOLDER / file).read_bytes()).hexdigest() == digest


@pytest.mark.usefixtures("desktop")
def test_the_pair_is_listed_once_with_a_picture():
    import slicer

    sample_data.register()
    sample_data.register()
    (source,) = slicer.modules.sampleDataSources["CrossModalSeg"]
    assert source.sampleName == "Head phantom T1w + T2w"
    assert source.thumbnailFileName == str(sample_data.THUMBNAIL)
    assert sample_data.THUMBNAIL.is_file()


@pytest.mark.usefixtures("desktop")
def test_both_volumes_are_loaded_with_their_names_and_places():
    import slicer

    nodes = sample_data.load()
    assert [node.GetName() for node in nodes] == ["HeadPhantom_T1w", "HeadPhantom_T2w"]
    rng = np.random.default_rng(1)
    for node, (_, file, _) in zip(nodes, sample_data.VOLUMES, strict=True):
        volume = read_volume(sample_data.FOLDER / file, "T1w")
        ras_to_ijk = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)))
        for k, j, i in rng.integers((0, 0, 0), volume.array.shape, size=(100, 3)):
            # Slicer turns left-handed files into right-handed nodes, so the same voxel has another index.
            there = np.rint(ras_to_ijk @ volume.grid.ijk_to_ras @ [i, j, k, 1]).astype(int)
            assert slicer.util.arrayFromVolume(node)[there[2], there[1], there[0]] == volume.array[k, j, i]
        assert node.GetStorageNode() is None, "saving the scene would write into the module's own folder"


@pytest.mark.usefixtures("desktop")
def test_a_click_on_the_picture_loads_the_pair_and_tells_the_panel():
    import slicer

    told = []
    sample_data.register(told.append)
    (source,) = slicer.modules.sampleDataSources["CrossModalSeg"]
    nodes = source.customDownloader(source)
    assert told == [nodes]
    assert len(nodes) == 2


@pytest.mark.usefixtures("desktop")
def test_a_changed_file_is_not_loaded(monkeypatch):
    wrong = [(node, file, "0" * 64) for node, file, _ in sample_data.VOLUMES]
    monkeypatch.setattr(sample_data, "VOLUMES", wrong)
    with pytest.raises(ValueError, match="checksum"):
        sample_data.load()
