"""The slice views of the two-modality layout: two rows of axial, coronal and sagittal, and Slicer's description of
them."""

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from CrossModalSegApp.scene.scene_nodes import nodes_of_class

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
TWO_ROWS, ONE_ROW = 62410, 62411  # numbers of our layouts; Slicer's own are below 1000
VIEW_GROUP = 62  # linking reaches the views of one group; Slicer's own views are of group 0
_COLORS = {"Axial": "#F34A33", "Coronal": "#6EB04B", "Sagittal": "#EDD54C"}  # as in Slicer's own views


@dataclass(frozen=True)
class SliceView:
    """One view: ``row`` 0 or 1, ``orientation`` one of `ORIENTATIONS`."""

    row: int
    orientation: str

    @property
    def name(self) -> str:
        """The singleton tag and layout name of the view's nodes."""
        return f"CrossModalSeg{self.row + 1}{self.orientation}"

    @property
    def label(self) -> str:
        return f"{self.row + 1}{self.orientation[0]}"

    @property
    def color(self) -> str:
        return _COLORS[self.orientation]


def views(rows: int) -> tuple[SliceView, ...]:
    """The views of one or two rows, row by row."""
    return tuple(SliceView(row, orientation) for row in range(rows) for orientation in ORIENTATIONS)


def is_ours(node: Any) -> bool:
    """Whether a slice or composite node is of a view of this layout."""
    return any(node.GetLayoutName() == view.name for view in views(2))


def layout_description(rows: int) -> str:
    """The layout of ``rows`` rows in Slicer's XML (developer guide, "Layout Manager")."""
    outer = ET.Element("layout", type="vertical")
    for row in range(rows):
        inner = ET.SubElement(ET.SubElement(outer, "item"), "layout", type="horizontal")
        for view in (view for view in views(rows) if view.row == row):
            element = ET.SubElement(
                ET.SubElement(inner, "item"), "view", {"class": "vtkMRMLSliceNode", "singletontag": view.name}
            )
            properties = {"orientation": view.orientation, "viewlabel": view.label, "viewcolor": view.color}
            for name, value in (properties | {"viewgroup": str(VIEW_GROUP)}).items():
                ET.SubElement(element, "property", name=name, action="default").text = value
    return ET.tostring(outer, encoding="unicode")


def slice_node(scene: Any, view: SliceView) -> Any:
    """The vtkMRMLSliceNode of ``view``; made where Slicer's layout manager has not (there is none without a
    desktop)."""
    node = scene.GetSingletonNode(view.name, "vtkMRMLSliceNode")
    if node is not None:
        return node
    node = _added(scene, "vtkMRMLSliceNode", view)
    node.SetLayoutLabel(view.label)
    node.SetLayoutColor([int(view.color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    node.SetViewGroup(VIEW_GROUP)
    node.SetOrientation(view.orientation)
    return node


def composite_node(scene: Any, view: SliceView) -> Any:
    """The vtkMRMLSliceCompositeNode of ``view``, which says what is shown in it; made where it is missing."""
    for node in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if node.GetLayoutName() == view.name:
            return node
    return _added(scene, "vtkMRMLSliceCompositeNode", view)


def _added(scene: Any, class_name: str, view: SliceView) -> Any:
    import slicer

    node = getattr(slicer, class_name)()
    default = scene.GetDefaultNodeByClass(class_name)
    if default is not None:  # it has the presets of orientations
        node.CopyContent(default)
    node.SetName(view.name)
    node.SetSingletonTag(view.name)
    node.SetLayoutName(view.name)
    return scene.AddNode(node)
