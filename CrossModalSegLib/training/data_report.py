"""What is found out about a training's data while they are read: findings, labels without counterpart, scans that are
there twice."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.plurals import counted, some_of


@dataclass
class DataReport:
    """``unmatched`` counts, by what the label files call it, in how many of them there are structures that the model
    does not learn; ``content`` are the fingerprints of all that is learnt from, and ``left_out`` names the validation
    cases that hold one of these."""

    unmatched: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    content: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)

    def is_new(self, title: str, fingerprints: Iterable[str], learnt: bool) -> bool:
        """Whether a case may be used: always to learn from; to validate with, unless one of its scans is learnt
        from."""
        found = set(fingerprints)
        if learnt:
            self.content |= found
            return True
        if found & self.content:
            self.left_out.append(title)
            return False
        return True

    def lines(self) -> list[str]:
        """In words, for a person."""
        findings = [finding for finding in self.findings if finding.severity == "warning"]
        if self.unmatched:
            listed = [f"{name} (in {counted(number, 'label file')})" for name, number in self.unmatched.most_common()]
            what = f"not in the label map, counted as background: {some_of(listed, 10)}"
            findings.append(Finding("warning", "unmatched", what, "rename them where they are structures to be learnt"))
        if self.left_out:
            what = f"left out of the validation, because the same scan is learnt from: {some_of(self.left_out, 10)}"
            findings.append(Finding("warning", "same-scan", what, "keep all cases of a patient on one side"))
        return [str(finding) for finding in findings]
