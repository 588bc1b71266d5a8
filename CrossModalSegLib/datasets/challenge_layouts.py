"""Layouts in which challenges were published: AMOS 2022, MS-CMRSeg 2019, CHAOS. Also CT and MR of different
patients."""

import re
from pathlib import Path

from CrossModalSegLib.datasets.layout import Items, Names, images_in, merged, natural, patient_items, stem_of
from CrossModalSegLib.errors import DataError

AMOS_CASE = re.compile(r"amos_(\d{4})$")
LAST_AMOS_CT = 500  # higher numbers are MR
MSCMR_FILE = re.compile(r"patient(\d+)_(C0|LGE|T2)(_manual)?$")
MSCMR_NAMES = {"C0": ("C0", "bSSFP", "cine"), "LGE": ("LGE",), "T2": ("T2", "T2w")}
CHAOS_SCANS = {  # folder below the patient's: (other names, scan, labels)
    "CT": (("CT",), "DICOM_anon", "Ground"),
    "T1DUAL": (("T1DUAL", "T1", "T1w", "T1 in phase"), "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "OutPhase": (("OutPhase", "T1 out of phase"), "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
    "T2SPIR": (("T2SPIR", "T2", "T2w", "MR"), "T2SPIR/DICOM_anon", "T2SPIR/Ground"),
}


class Amos:
    """AMOS 2022: imagesTr/amos_0001.nii.gz with labelsTr, imagesVa with labelsVa. Every patient has one scan: CT up to
    number 500, MR from 501. The validation part validates; imagesTs, which has no labels, is for testing and not
    read."""

    name = "AMOS 2022"

    def recognises(self, folder: Path) -> bool:
        """imagesTr with names of AMOS and without nnU-Net's channel numbers."""
        return any(AMOS_CASE.match(stem) for stem in images_in(folder / "imagesTr"))

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per scan."""
        training = self._part(folder, "Tr", modalities)
        if not training:
            wanted = " or ".join(modalities.modalities)
            raise DataError(
                "layout", f"{folder} looks like {self.name}, which has CT and MR, not {wanted}", "name them so"
            )
        held = self._part(folder, "Va", modalities)
        return {**training, "validation": held.get("training", [])}

    def _part(self, folder: Path, part: str, modalities: Names) -> Items:
        labels, items = images_in(folder / f"labels{part}"), []
        for stem, path in images_in(folder / f"images{part}").items():
            match = AMOS_CASE.match(stem)
            if match is None:
                continue
            names = ("CT",) if int(match[1]) <= LAST_AMOS_CT else ("MR", "MRI")
            modality = modalities.find(*names)
            if modality:
                items.append(patient_items({modality: path}, {}, labels.get(stem)))
        return merged(items)


class MsCmrSeg:
    """MS-CMRSeg 2019: patient1_C0.nii.gz (balanced SSFP), patient1_LGE.nii.gz, patient1_T2.nii.gz and label maps that
    end in _manual, in any folders. The scans of a patient lie on grids of their own, and not all are labelled."""

    name = "MS-CMRSeg 2019"

    def recognises(self, folder: Path) -> bool:
        """Any file of such a name, up to two folders down."""
        return any(
            MSCMR_FILE.match(stem_of(path) or "") for depth in ("*", "*/*", "*/*/*") for path in folder.glob(depth)
        )

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per patient; where only one of two scans is labelled, it trains by itself."""
        scans: dict[int, dict[str, Path]] = {}
        labels: dict[int, dict[str, Path]] = {}
        for path in sorted(folder.rglob("patient*"), key=lambda path: natural(str(path))):
            match = MSCMR_FILE.match(stem_of(path) or "")
            modality = modalities.find(*MSCMR_NAMES[match[2]]) if match else None
            if match and modality:
                (labels if match[3] else scans).setdefault(int(match[1]), {})[modality] = path
        if not scans:
            wanted = " or ".join(modalities.modalities)
            raise DataError(
                "layout", f"{folder} looks like {self.name}, which has C0, LGE and T2, not {wanted}", "name them so"
            )
        return merged(patient_items(scans[number], labels.get(number, {}), aligned=False) for number in sorted(scans))


class Chaos:
    """CHAOS: Train_Sets/CT/1/DICOM_anon and Ground; Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase (and OutPhase), T2SPIR/
    DICOM_anon, each with Ground. CT and MR are of different patients; T1DUAL and T2SPIR are acquired one after the
    other, and lie on each other in part only, the two phases of T1DUAL at once. Labels become 1 liver, 2 right kidney,
    3 left kidney, 4 spleen; in CT the liver alone is labelled, so list the liver alone in ``label_map`` where CT takes
    part."""

    name = "CHAOS"

    def recognises(self, folder: Path) -> bool:
        """Patients with DICOM_anon, below CT or MR."""
        return any(self._patients(folder, kind) for kind in ("CT", "MR"))

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per patient: a CT, or the MR scans that are asked for, each with labels of its own."""
        items = []
        for kind, scans in (("CT", ("CT",)), ("MR", ("T1DUAL", "OutPhase", "T2SPIR"))):
            wanted = {
                modality: CHAOS_SCANS[scan] for scan in scans if (modality := modalities.find(*CHAOS_SCANS[scan][0]))
            }
            for patient in self._patients(folder, kind):
                there = {name: patient / path for name, (_, path, _) in wanted.items() if (patient / path).is_dir()}
                labels = {name: patient / path for name, (_, _, path) in wanted.items() if (patient / path).is_dir()}
                one_acquisition = len({labels_of for _, _, labels_of in wanted.values()}) < 2  # both phases of T1-DUAL
                if there:
                    items.append(patient_items(there, labels, aligned=one_acquisition))
        if not items:
            wanted_names = " or ".join(modalities.modalities)
            known = ", ".join(CHAOS_SCANS)
            raise DataError(
                "layout", f"{folder} looks like {self.name}, which has {known}, not {wanted_names}", "name them so"
            )
        return merged(items)

    def _patients(self, folder: Path, kind: str) -> list[Path]:
        found = {scan.parent for top in ("", "Train_Sets/") for scan in folder.glob(f"{top}{kind}/*/DICOM_anon")}
        found |= {
            scan.parent.parent for top in ("", "Train_Sets/") for scan in folder.glob(f"{top}{kind}/*/*/DICOM_anon")
        }
        return sorted(found, key=lambda path: natural(path.name))
