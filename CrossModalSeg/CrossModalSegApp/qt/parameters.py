"""What the panel remembers in the scene, as one typed parameter node."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from CrossModalSegApp.logic.wording import DEVICES


class Device(Enum):
    """Where the model runs; the value is what the worker is asked for."""

    AUTOMATIC = "auto"
    GPU = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        """The entry of the combo box."""
        return DEVICES[self.value]


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


class ShownParameters(CrossModalSegParameters):
    """The parameters in ``node`` while ``widgets``, by parameter, show them; call `disconnect` before letting go.

    Slicer's wrapper leaves an observation on the node for ever. Python's garbage collection does not see that the scene
    holds the node: once nobody else does, it takes wrapper and observation apart, and the node's next change crashes.
    """

    def __init__(self, node: Any, widgets: Mapping[str, Any]):
        self._observations: list[int] = []
        super().__init__(node)
        self._connection = self.connectParametersToGui(widgets)

    def AddObserver(self, event: Any, callback: Any, priority: float = -1.0) -> int:
        """As Slicer's, until `disconnect`. At this priority it comes after the wrapper has read the new values."""
        self._observations.append(super().AddObserver(event, callback, priority))
        return self._observations[-1]

    def disconnect(self) -> None:
        """End the connection with the widgets and all observations."""
        self.disconnectGui(self._connection)
        while self._observations:
            self.RemoveObserver(self._observations.pop())


class ParameterStore:
    """The choice of a `ScansPresenter` in the parameter node."""

    def __init__(self, parameters: CrossModalSegParameters):
        self._parameters = parameters

    @property
    def model(self) -> str:
        return str(self._parameters.modelName)

    @model.setter
    def model(self, name: str) -> None:
        self._parameters.modelName = name

    def scans(self) -> tuple[Any, Any]:
        return self._parameters.firstVolume, self._parameters.secondVolume

    def put(self, first: Any, second: Any) -> None:
        was_modifying = self._parameters.StartModify()
        self._parameters.firstVolume, self._parameters.secondVolume = first, second
        self._parameters.EndModify(was_modifying)
