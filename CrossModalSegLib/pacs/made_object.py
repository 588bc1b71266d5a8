"""What all objects that we make have in common: who made them from what, and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from CrossModalSegLib import __version__
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.pacs.source_images import SourceImages
from CrossModalSegLib.pacs.uids import derived_uid

MAKER = "CrossModalSeg"
NOT_CLINICAL = "not for clinical use"
CHARACTER_SET = "ISO_IR 192"  # UTF-8
_LONGEST = 64  # characters of a value of type LO
# Series of one scan: 100 times its series number, and one of these.
SEGMENTATION, REPORT, UNCERTAINTY, STRUCTURE_SET = 1, 2, 3, 4


@dataclass(frozen=True)
class Model:
    """The bundle that segmented: its ``name``, ``version`` and hash, and what it is for."""

    name: str
    version: str
    sha256: str
    intended_use: str

    @classmethod
    def of(cls, bundle: Bundle) -> "Model":
        return cls(bundle.name, bundle.version, bundle.sha256, bundle.intended_use)

    @property
    def title(self) -> str:
        """``CrossModalSeg brain-mr-pair 0.2.0 - not for clinical use``, shortened where the name is long."""
        end = f" {self.version} - {NOT_CLINICAL}"
        return f"{MAKER} {self.name}"[: _LONGEST - len(end)] + end


@dataclass(frozen=True)
class Origin:
    """What UIDs follow from: the ``instances`` of all scans of the case, the ``model``, and what else decides."""

    model: Model
    instances: tuple[str, ...]
    further: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, model: Model, sources: Sequence[SourceImages], *further: str) -> "Origin":
        return cls(model, tuple(sorted(uid for one in sources for uid in one.instance_uids)), further)

    def uid(self, source: SourceImages, *what: str) -> str:
        """The UID of ``what`` is made of ``source``."""
        own = str(source.first.SeriesInstanceUID)
        return derived_uid(MAKER, __version__, self.model.sha256, *self.further, *self.instances, own, *what)

    def common(self, source: SourceImages, kind: int) -> dict[str, Any]:
        """The arguments that highdicom's objects share; ``kind`` is one of the numbers above."""
        return {
            "series_instance_uid": self.uid(source, "series", str(kind)),
            "series_number": 100 * source.series_number % 2**31 + kind,
            "sop_instance_uid": self.uid(source, "instance", str(kind)),
            "instance_number": 1,
            "manufacturer": MAKER,
            "manufacturer_model_name": self.model.name[:_LONGEST],
            "software_versions": __version__,
            "device_serial_number": self.model.sha256,
            "series_description": self.model.title,
            "specific_character_set": CHARACTER_SET,
        }


def short(text: str) -> str:
    """``text`` as a value of type LO (PS3.5 6.2)."""
    return text.replace("\\", "/")[:_LONGEST]
