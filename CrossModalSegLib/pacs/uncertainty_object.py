"""How uncertain a result is, as DICOM Parametric Map (PS3.3 A.75): percent in each voxel of the scan."""

from typing import Any

import numpy as np

from CrossModalSegLib.labels import Code
from CrossModalSegLib.pacs.made_object import UNCERTAINTY, Origin, short
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.segmentation_object import coded
from CrossModalSegLib.pacs.source_images import SourceImages

WHAT = "writing a DICOM parametric map"
PERCENT = Code("UCUM", "%", "percent")
QUANTITY = Code("99CMSEG", "UNCERTAINTY", "100 x (1 - highest class probability)")


def uncertainty_object(percent: np.ndarray, source: SourceImages, origin: Origin) -> Any:
    """The highdicom ParametricMap of ``percent`` (K, J, I) uint8, 0 is certain. Raises InstallError
    ``packages-missing``."""
    pm = package("highdicom.pm", WHAT)
    mapping = pm.RealWorldValueMapping(
        lut_label="uncertainty",
        lut_explanation=short(QUANTITY.meaning),
        unit=coded(PERCENT),
        value_range=(0, 100),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coded(QUANTITY),
    )
    made = pm.ParametricMap(
        source_images=source.headers,
        pixel_array=source.in_order_of_frames(percent.astype(np.uint16)),  # 16 bits is the least that the class allows
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=50,
        window_width=100,
        content_label="UNCERTAINTY",
        content_description=short(origin.model.intended_use),
        **origin.common(source, UNCERTAINTY),
    )
    made.Laterality = ""  # unknown (type 2C of PS3.3 C.7.3.1)
    return made
