"""What a fine-tuning came to: all that was found, and the two sentences of it that a radiologist reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from CrossModalSegLib.adaptation.candidate import Evidence
from CrossModalSegLib.adaptation.gate import Aim, Verdict
from CrossModalSegLib.adaptation.plan import Schedule
from CrossModalSegLib.adaptation.protocol_difference import ProtocolDifference
from CrossModalSegLib.adaptation.scoring import Scores
from CrossModalSegLib.plurals import counted


@dataclass(frozen=True)
class Findings:
    """What was found out beside the scores: how far to go by the ``evidence``, where the site's protocol differs, and
    whom the model is for."""

    evidence: Evidence
    differences: Sequence[ProtocolDifference]
    aim: Aim


@dataclass(frozen=True)
class Conclusion:
    """The verdict, and what it rests on: both models' scores by case, and the findings."""

    schedule: Schedule
    verdict: Verdict
    parent: Mapping[str, Scores]
    candidate: Mapping[str, Scores]
    findings: Findings

    @property
    def summary(self) -> tuple[str, str]:
        """In two sentences."""
        return summarise(self.verdict, self.findings.aim)


def summarise(verdict: Verdict, aim: Aim) -> tuple[str, str]:
    """What was gained for whom and how sure that is; then what it costs elsewhere, as far as that can be measured."""
    return _gain(verdict), _cost(verdict, aim)


def _gain(verdict: Verdict) -> str:
    mean = verdict.site.mean
    if mean is None:
        return (
            "Nobody can say yet whether the new model is better at this site: that takes corrected cases of 2 patients "
            "whom the present model has not learnt from."
        )
    whom = f"on {counted(mean.patients, 'patient')} of this site whom it had not seen"
    if mean.difference <= 0:
        return (
            f"The new model is no better than the present one {whom} (Dice {mean.parent:.2f} and {mean.candidate:.2f})."
        )
    gain = (
        f"For this site's next patients, the new model agrees with the corrections by {mean.candidate:.1%} instead of "
        f"{mean.parent:.1%} (Dice), measured {whom}"
    )
    return f"{gain}; {_certainty(verdict)}."


def _certainty(verdict: Verdict) -> str:
    more = verdict.more_patients
    if verdict.decision == "promote" or more == 0:
        return "that is no chance"
    if more is None:
        return "that may be chance: correct cases of a few more patients to know"
    return f"that may be chance: about {counted(more, 'more corrected patient')} would make it certain"


def _cost(verdict: Verdict, aim: Aim) -> str:
    mean = verdict.frozen.mean
    if mean is None:
        return (
            "What it loses on other scanners cannot be measured, because the present model carries no cases for that."
        )
    lost = mean.parent - mean.candidate
    fallen = [one for one in verdict.frozen.structures if one.difference < -0.01 - 1e-9]
    where = "other scanners' and protocols' scans (the frozen cases)"
    if lost <= 0.01 and not fallen:
        return f"On {where} it loses nothing that counts."
    worst = sorted(fallen, key=lambda one: one.difference)[:2]
    named = ", ".join(
        f"{one.name} ({'drawn otherwise here' if one.name in aim.protocol else f'{one.difference:+.2f}'})"
        for one in worst
    )
    most = f", most in {named}" if named else ""
    change = f"loses {lost:.0%}" if lost > 0.005 else "stays about the same in the mean, and loses in some structures"
    return f"On {where} it {change}{most}: use the present model for those."
