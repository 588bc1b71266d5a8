"""What the panel remembers in the scene, as one typed parameter node."""

from enum import Enum
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class Device(Enum):
    """Where the model runs; the value is what the worker is asked for."""

    AUTOMATIC = "auto"
    GPU = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        """The entry of the combo box."""
        return {"auto": _("Automatic"), "cuda": _("GPU"), "cpu": _("CPU")}[self.value]


@parameterNodeWrapper
class CrossModalSegParameters:
    """Saved with the scene, so that it opens again as it was left.

    The site folder and the annotator's initials are application settings instead: scenes are passed on to others.
    """

    firstVolume: slicer.vtkMRMLScalarVolumeNode
    secondVolume: slicer.vtkMRMLScalarVolumeNode
    modelName: str = "brain-mr-pair"
    device: Device = Device.AUTOMATIC
    crossfade: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
