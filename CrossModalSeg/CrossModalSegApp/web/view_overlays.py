"""What stands over the picture of a view: the scan, the sides of the patient, a bar of a round length, a slider."""

from trame_client.widgets import html
from trame_server import Server
from trame_slicer.views import AbstractView, SliceView

from CrossModalSegApp.scene.slice_views import views

# Radiological display: left, right, top, bottom of the picture.
_SIDES = {"Axial": "RLAP", "Coronal": "RLSI", "Sagittal": "APSI"}
_SCALES_MM = (100, 50, 20, 10, 5, 2, 1)
_SCALE_SHARE = 0.3  # of a view's width, at most


def slice_overlay(_server: Server, _view_id: str, view: AbstractView) -> None:
    """Put what stands over a slice view where the page is being built."""
    html.Div(_overlay(view.name), classes="overlay", raw_attrs=[f'data-view="{view.name}"'])


def title_3d(_server: Server, _view_id: str, view: AbstractView) -> None:
    """Put the title of the 3D view where the page is being built."""
    html.Div(
        '<span class="view-title">3D <small v-if="display.is_making_surfaces" id="making-surfaces">'
        "making surfaces…</small></span>",
        classes="overlay",
        raw_attrs=[f'data-view="{view.get_singleton_tag()}"'],
    )


def scale_of(view: SliceView) -> dict[str, float]:
    """A bar of a round length in mm, and its length in pixels."""
    node = view.get_view_node()
    pixels_per_mm = node.GetDimensions()[0] / max(node.GetFieldOfView()[0], 1e-6)
    longest = _SCALE_SHARE * node.GetDimensions()[0] / pixels_per_mm
    length = next((one for one in _SCALES_MM if one <= longest), _SCALES_MM[-1])
    return {"scale_mm": length, "scale_pixels": round(length * pixels_per_mm, 1)}


def _overlay(name: str) -> str:
    """What stands in a slice view: the scan, the sides of the patient, and a slider for the slice."""
    view = next(view for view in views(2) if view.name == name)
    words = zip(("left", "right", "top", "bottom"), _SIDES[view.orientation], strict=True)
    sides = "".join(f'<span class="side {place}">{letter}</span>' for place, letter in words)
    row, slices = f"display.rows[{view.row}]", f"display.slices['{name}']"
    return f"""
<span class="view-title" style="border-color: {view.color}"
  >{{{{ {row} }}}} <small>{view.orientation.lower()}</small></span><template v-if="{row}">{sides}</template>
<span v-if="{slices} && {row}" class="scale" :style="{{ width: {slices}.scale_pixels + 'px' }}"
  :data-pixels="{slices}.scale_pixels">{{{{ {slices}.scale_mm }}}} mm</span>
<input v-if="{slices} && {row}" class="slice" type="range" :aria-label="'{view.orientation} slice of ' + {row}"
  :min="{slices}.lower" :max="{slices}.upper" :step="{slices}.step" :value="{slices}.value"
  @input="trigger('display_slice', ['{name}', Number($event.target.value)])">"""
