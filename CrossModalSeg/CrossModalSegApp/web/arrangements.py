"""How the views of the page lie beside each other, by the rows of scans and by what the user looks at."""

from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition, slicer_layout_to_vue

from CrossModalSegApp.scene.slice_views import ONE_ROW, TWO_ROWS, layout_description

ROWS = {ONE_ROW: 1, TWO_ROWS: 2}  # by Slicer's number of the layout
MODES = ("slices", "both", "3d")


def arrangement_name(rows: int, mode: str) -> str:
    """How the arrangement of so many rows in a mode is called."""
    return f"{rows} {mode}"


def arrangement(rows: int, mode: str) -> Layout:
    """The rows of the module's layout, a 3D view, or both side by side."""
    slices = slicer_layout_to_vue(layout_description(rows))
    if rows == 1:  # three columns would be half black
        first, *others = slices.get_views(is_recursive=True)
        beside = Layout(LayoutDirection.Vertical, others)
        slices = Layout(LayoutDirection.Horizontal, [first, beside], flex_sizes=["1.6", "1"])
    surfaces = ViewLayoutDefinition.threed_view()
    if mode == "slices":
        return slices
    if mode == "3d":
        return Layout(LayoutDirection.Horizontal, [surfaces])
    return Layout(LayoutDirection.Horizontal, [slices, surfaces], flex_sizes=["3", "1.3"])
