"""What the views say about a case, in plain text: the panel in Slicer and the page in a browser say the same."""

from html import escape
from typing import Any

from CrossModalSegApp.logic.case_selection import Check, Remedy
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.process.adaptation import AdaptationResult
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.scene.correction import Masking
from CrossModalSegApp.scene.review import ReviewEntry
from CrossModalSegApp.scene.site_cases import SiteWork
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.site.case_files import SavedCase

SIGNS = {"error": "✖", "warning": "⚠", "info": "ℹ"}
_SHOWN_ID = 6  # of a case of the site
_NAMED = 5  # damaged cases


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop; a hint is written without them."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


# --- the model


def model_facts(bundle: Bundle) -> list[tuple[str, str]]:
    """(title, content) of each thing that a user should know of a model."""
    section = bundle.metadata[SECTION]
    return [
        (_("Scans"), _(" and ").join(bundle.modalities)),
        (_("Structures"), f"{len(bundle.label_map.values)}"),
        (_("Trained on"), _training(section["training"]) or _("not stated")),
        (_("Scores"), _scores(section["scores"]) or _("not stated")),
        (_("Licence"), section["licence"]),
        (_("Date"), section.get("created") or _("not stated")),
        (_("Adapted from"), (section.get("parent") or "")[:12] or _("no other model")),
    ]


def structure_names(bundle: Bundle) -> str:
    """The names of all structures that a model finds."""
    return ", ".join(structure.name for structure in bundle.label_map.structures)


def _training(facts: dict[str, Any]) -> str:
    plain = [f"{value} {name}" for name, value in facts.items() if isinstance(value, int | float)]
    return ", ".join(filter(None, [facts.get("data", ""), *plain]))


def _scores(scores: dict[str, Any]) -> str:
    """The mean of each table of scores, such as "validation Dice 0.67"."""
    tables = {name: list(table.values()) for name, table in scores.items() if isinstance(table, dict) and table}
    numbers = {name: [one for one in table if isinstance(one, int | float)] for name, table in tables.items()}
    return ", ".join(f"{name} {sum(found) / len(found):.2f}" for name, found in numbers.items() if found)


# --- the scans


def scan_facts(check: Check) -> list[tuple[str, str]]:
    """(modality, size, spacing, tilt and transform) of each scan; nothing where one cannot be read."""
    facts = []
    for volume in check.preflight.volumes if check.preflight else ():
        size = " × ".join(str(n) for n in volume.shape_ijk)
        spacing = " × ".join(f"{length:.2g}" for length in volume.spacing_mm)
        tilt = _("tilted by {degrees:.0f}°").format(degrees=volume.obliquity_degrees)
        facts.append((volume.modality, f"{size}, {spacing} mm, {tilt}, {_(check.transforms[volume.modality])}"))
    return facts


def overlap_words(check: Check) -> str:
    """How much of one field of view the other covers; "" where that is not known."""
    percent = check.preflight.field_of_view_overlap_percent if check.preflight else None
    return "" if percent is None else _("Overlap of the fields of view: {percent:.0f} %").format(percent=percent)


def remedy_words(remedy: Remedy) -> str:
    """What stands on a remedy's button."""
    return {
        "swap": _("Swap"),
        "clear-second": _("Leave the second empty"),
        "harden-first": _("Harden a copy"),
        "harden-second": _("Harden a copy"),
        "refine": _("Align…"),
    }[remedy]


# --- a run


def progress_words(status: RunStatus) -> str:
    """The stage of a run and the time left."""
    return _(status.stage[:1].upper() + status.stage[1:]) + _time_left(status.seconds_left)


def outcome_words(status: RunStatus, notice: str = "") -> str:
    """How the last run ended, if not by an error; ``notice`` is what a finished run had to say."""
    if status.state is not RunState.IDLE:
        return ""
    if status.outcome is Outcome.DONE:
        return f"{_('Done.')} {notice}".strip()
    if status.outcome is Outcome.CANCELLED:
        return f"{_('Cancelled.')} {status.reason or _('The scene is as it was.')}"
    return ""


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return " – " + _("about {seconds:.0f} s left").format(seconds=max(1, seconds))
    return " – " + _("about {minutes:.0f} min left").format(minutes=seconds / 60)


# --- the review list


def reason_words(entry: ReviewEntry) -> str:
    """Why a place should be checked."""
    where = ", ".join(entry.modalities)
    if entry.reason == "disagreement":
        return _("the two scans disagree ({volume:.1f} mL)").format(volume=entry.volume_ml)
    return _("uncertain in {where} ({volume:.1f} mL)").format(where=where, volume=entry.volume_ml)


# --- correcting


def masking_words(masking: Masking) -> str:
    """The entry of the selector."""
    return {
        Masking.LEAVE_NEIGHBOURS: _("Leave neighbours alone"),
        Masking.TAKE_FROM_NEIGHBOURS: _("Take from neighbours"),
        Masking.INSIDE_BODY: _("Anywhere inside the body"),
    }[masking]


def masking_hint(masking: Masking) -> str:
    """What a stroke does, in a sentence; it is said where the user draws."""
    return {
        Masking.LEAVE_NEIGHBOURS: _("A stroke leaves neighbouring structures as they are."),
        Masking.TAKE_FROM_NEIGHBOURS: _("A stroke takes from neighbouring structures."),
        Masking.INSIDE_BODY: _(
            "A stroke takes from neighbouring structures, and leaves the air around the body alone."
        ),
    }[masking]


# --- the site


def short_id(case_id: str) -> str:
    """Enough of a case's id to tell it from others."""
    return case_id[:_SHOWN_ID]


def site_summary(work: SiteWork) -> str:
    """How many cases of which status there are, and which have been corrected twice or cannot be read."""
    counts = ", ".join(f"{count} {_(status)}" for status, count in work.counts.items())
    whole = sum(work.counts.values())
    text = (_("1 case: {counts}.") if whole == 1 else _("{all} cases: {counts}.")).format(all=whole, counts=counts)
    if work.forks:
        listed = ", ".join(map(short_id, work.forks))
        text += " " + _("Corrected twice, independently: {listed}. Approve one of both.").format(listed=listed)
    if work.damaged:
        more = len(work.damaged) - _NAMED
        listed = ", ".join(map(short_id, work.damaged[:_NAMED])) + (
            _(" and {more} more").format(more=more) if more > 0 else ""
        )
        text += " " + _("Cannot be read: {listed}. The command crossmodalseg site verify says why.").format(
            listed=listed
        )
    return text


def untouched_question(author: str) -> str:
    """What is asked before a result that nobody has changed is saved as a correction."""
    return _(
        "Nothing was changed in this result. Save it only if you have looked it over and it is right as it is: the model "
        "will learn it as true.\n\nSave it as confirmed by {author}?"
    ).format(author=author)


def saved_words(words: str, saved: SavedCase) -> str:
    """Where a case was saved, after ``words``, or was already; and whether somebody else has corrected it meanwhile."""
    text = f"{_('These scans are in the site folder already') if saved.was_known else words}: {saved.folder}"
    if not saved.forks:
        return text
    listed = " and ".join(map(str, saved.forks))
    fork = _("Somebody else has corrected this case, too: approve one of the revisions {listed}")
    return f"{text}. {fork.format(listed=listed)}"


# --- adapting the model to the site


def adaptation_words(status: CommandStatus) -> str:
    """What is done now, and the time left; how it ended, where it was stopped."""
    stopped = _("Stopped. It can go on from here.") if status.outcome is Outcome.CANCELLED else ""
    return command_words(status) or stopped


def command_words(status: CommandStatus) -> str:
    """What a command does now, and the time left; "" where it is not at work."""
    if not status.is_running:
        return ""
    stage = _(status.stage[:1].upper() + status.stage[1:])
    return f"{stage}{': ' if status.words else ''}{status.words}{_time_left(status.seconds_left)}"


def button_words(status: CommandStatus, start: str, cancel: str) -> str:
    """What stands on the button that starts a command and cancels it; while it is stopping, that it does."""
    return _("Stopping…") if status.is_stopping else cancel if status.is_running else start


def error_html(error: CrossModalSegError) -> str:
    """An error with its hint, for a label."""
    message, hint = escape(error.message).replace("\n", "<br>"), escape(sentence(error.hint))
    return f'<span style="color:#b00020">✖ {message}</span><br>{hint}'


def verdict_words(result: AdaptationResult) -> str:
    """What the comparison with the previous model means for the user."""
    return {
        "promote": _("The new model is better for this site's next patients."),
        "insufficient-evidence": _(
            "The new model may be better: the evidence is insufficient. Look at the report first."
        ),
        "keep": _("The model stays: the new one would be worse."),
    }.get(result.decision, result.decision)
