"""3D Slicer's own scene and logics (from the package slicer-core), without the desktop application."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def slicer_logics(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Slicer's scene, application logic and module logics; one of each for all tests, as in the application.

    ``.scene`` is the vtkMRMLScene, ``.application`` the application logic; ``.colors``, ``.markups``,
    ``.segmentations``, ``.subject_hierarchy``, ``.terminologies``, ``.transforms``, ``.volumes`` are the modules'
    logics; ``.remote_io`` and ``.data_io`` read and write scene files. Skips where slicer-core is missing.
    """
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
    return make_logics(tmp_path_factory.mktemp("slicer"), tmp_path_factory.mktemp("cache"))


def make_logics(temporary: Path, cache: Path) -> SimpleNamespace:
    """What the fixture `slicer_logics` gives, with files in two folders of the caller's."""
    import slicer
    import vtk

    vtk.vtkOutputWindow.GetInstance().SetDisplayModeToAlwaysStdErr()
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetTemporaryPath(str(temporary))
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    logics = SimpleNamespace(
        scene=scene,
        application=application,
        colors=application.GetColorLogic(),
        markups=slicer.vtkSlicerMarkupsLogic(),
        segmentations=slicer.vtkSlicerSegmentationsModuleLogic(),
        subject_hierarchy=slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        terminologies=slicer.vtkSlicerTerminologiesModuleLogic(),
        transforms=slicer.vtkSlicerTransformLogic(),
        volumes=slicer.vtkSlicerVolumesLogic(),
    )
    names = {"segmentations": "Segmentations", "subject_hierarchy": "SubjectHierarchy", "volumes": "Volumes"}
    names |= {"colors": "Colors", "terminologies": "Terminologies", "transforms": "Transforms", "markups": "Markups"}
    for attribute, module in names.items():
        logic = getattr(logics, attribute)
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(module, logic)
    logics.colors.AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logics.remote_io, logics.data_io = _scene_files(slicer, application, cache)
    return logics


def _scene_files(slicer: object, application: object, cache: Path) -> tuple[object, object]:
    """The logics that read and write scene files, with what they have loaded in the folder ``cache``."""
    scene = application.GetMRMLScene()
    remote_io, data_io = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    for logic in (remote_io, data_io):
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
    remote_io.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    data_io.SetAndObserveDataIOManager(remote_io.GetDataIOManager())
    remote_io.AddDataIOToScene()
    return remote_io, data_io


@pytest.fixture
def mrml_scene(slicer_logics: SimpleNamespace) -> Iterator[object]:
    """An empty vtkMRMLScene (singletons and default colours aside), cleared again after the test."""
    slicer_logics.scene.Clear(0)
    yield slicer_logics.scene
    slicer_logics.scene.Clear(0)


@pytest.fixture
def layout_logic(mrml_scene: object) -> Iterator[object]:
    """Slicer's vtkMRMLLayoutLogic: it adds the layout node and makes the view nodes that a layout asks for.

    In the desktop the same logic stands behind the layout manager. It starts with the four-up layout.
    """
    import slicer

    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(mrml_scene)
    logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    yield logic
    logic.SetMRMLScene(None)
    for class_name in ("vtkMRMLLayoutNode", "vtkMRMLAbstractViewNode", "vtkMRMLSliceCompositeNode"):
        nodes = mrml_scene.GetNodesByClass(class_name)
        for number in range(nodes.GetNumberOfItems()):
            mrml_scene.RemoveNode(nodes.GetItemAsObject(number))


def save_and_reload(scene: object, path: Path) -> None:
    """Write ``scene`` to the bundle ``path`` (.mrb), empty it, and read it again."""
    assert scene.WriteToMRB(str(path)), f"Slicer could not write {path}"
    scene.Clear(0)
    assert scene.ReadFromMRB(str(path)), f"Slicer could not read {path}"


@pytest.fixture(scope="session")
def slicer_terminologies() -> dict[str, Path]:
    """Slicer's terminology lists, which slicer-core does not bring: file name to path, from trame-slicer."""
    package = pytest.importorskip("trame_slicer", reason="trame-slicer, which brings the lists, is not installed")
    folder = Path(package.__file__).parent / "resources" / "terminologies"
    return {file.name: file for file in folder.glob("*.json")}
