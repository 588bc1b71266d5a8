"""The stand-in's parameter nodes: what they keep in the scene, what they refuse, and how widgets are bound to them."""

import enum
from pathlib import Path
from typing import Annotated

import pytest


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"

    def label(self):
        return self.value.title()


def test_parameters_of_every_kind_are_kept_in_the_scene(desktop):
    import slicer
    from slicer.parameterNodeWrapper import Choice, Default, Minimum, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Kinds:
        scan: slicer.vtkMRMLScalarVolumeNode
        folder: Path = Path("somewhere")
        speed: Speed = Speed.FAST
        word: Annotated[str, Choice(["a", "b"]), Default("b")]
        share: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
        count: Annotated[int, Minimum(1)] = 3
        limit: int | None = None

    node = desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    kinds = Kinds(node)
    assert (kinds.scan, kinds.folder, kinds.speed, kinds.word) == (None, Path("somewhere"), Speed.FAST, "b")
    assert (kinds.share, kinds.count, kinds.limit) == (0.5, 3, None)
    kinds.scan = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    kinds.speed, kinds.limit = Speed.SLOW, 7
    again = Kinds(node)
    assert (again.scan, again.speed, again.limit) == (kinds.scan, Speed.SLOW, 7)
    for name, value in (("share", 1.5), ("count", 0), ("word", "c"), ("speed", "fast"), ("scan", node)):
        with pytest.raises((ValueError, TypeError)):
            setattr(kinds, name, value)


def test_enumerations_and_choices_fill_their_combo_box(desktop):
    from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper

    @parameterNodeWrapper
    class Kinds:
        speed: Speed = Speed.FAST
        word: Annotated[str, Choice(["a", "b"])] = "a"

    kinds = Kinds(desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    speed, word = desktop.qt.QComboBox(), desktop.qt.QComboBox()
    tag = kinds.connectParametersToGui({"speed": speed, "word": word})
    assert [speed.itemText(number) for number in range(speed.count)] == ["Slow", "Fast"]
    assert speed.currentText == "Fast"
    speed.setCurrentIndex(0)
    kinds.word = "b"
    assert (kinds.speed, word.currentText) == (Speed.SLOW, "b")
    kinds.disconnectGui(tag)
    speed.setCurrentIndex(1)
    assert kinds.speed is Speed.SLOW


def test_an_unbounded_slider_is_refused_as_in_slicer(desktop):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Kinds:
        share: float = 0.5

    kinds = Kinds(desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(RuntimeError, match="unbounded"):
        kinds.connectParametersToGui({"share": desktop.ctk.ctkSliderWidget()})
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        kinds.connectParametersToGui({"share": desktop.ctk.ctkComboBox()})
