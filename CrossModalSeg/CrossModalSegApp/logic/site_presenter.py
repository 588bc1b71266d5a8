"""The section of the site: what is in its folder, the next case to correct, saving and approving."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegApp.scene.site_cases import SiteWork, UnreadableSite
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.site.case_files import SavedCase

_SHOWN_CASES = 50  # of the work list
_SHOWN_ID = 6  # letters of a case's id: enough to tell it from others
_NAMED = 5  # damaged cases


@dataclass(frozen=True)
class WorkRow:
    """A case that should be corrected, and why."""

    id: str
    name: str
    status: str
    reason: str


@dataclass(frozen=True)
class SiteSectionState:
    """``summary``: what there is in the folder, or why it cannot be read; ``message``: what was done last. ``refused``
    counts folders that were refused: each time, the one in use is to be shown again."""

    folder: str
    refused: int
    author: str
    can_look: bool
    can_save: bool
    can_add: bool
    summary: str
    cases: tuple[WorkRow, ...]
    message: str


@dataclass(frozen=True)
class SiteEvents:
    """Who is told: ``on_open`` of a case that was loaded, ``on_saved`` of a result that was saved, ``on_look`` of the
    folder each time it was read, None where it cannot be, and whether it is a site."""

    on_open: Callable[[OpenedCase], None]
    on_look: Callable[[Path | None, bool], None]
    on_saved: Callable[[CaseNodes], None]
    on_case: Callable[[str, str, str], None] = lambda _folder, _case, _title: None  # that was opened


class SitePresenter(Presenter):
    """Saves and approves the case that is shown, adds the scans that are chosen, opens the next case."""

    def __init__(self, logic: SegmentationLogic, scans: ScansPresenter, host: Host, events: SiteEvents):
        super().__init__(host)
        self._logic, self._scans, self._events = logic, scans, events
        self._case: CaseNodes | None = None
        self._typed = self._author = self._summary = self._message = ""
        self._chosen = ""  # the folder in use
        self._refused = 0
        self._cases: tuple[WorkRow, ...] = ()

    @property
    def state(self) -> SiteSectionState:
        has_folder = bool(self.folder)
        return SiteSectionState(
            folder=self._typed,
            refused=self._refused,
            author=self._author,
            can_look=has_folder,
            can_save=has_folder and self._case is not None,
            can_add=has_folder and bool(self._scans.volumes) and self._scans.bundle is not None,
            summary=self._summary,
            cases=self._cases,
            message=self._message,
        )

    @property
    def folder(self) -> str:
        """The site folder; "" where none is chosen, or it cannot be known which one is meant."""
        text = self._typed.strip()
        return text if Path(text).is_absolute() else ""

    def show_case(self, case: CaseNodes | None) -> None:
        """The result that is shown."""
        self._case = case
        self.changed()

    def type_folder(self, text: str) -> None:
        """The user is typing; the folder is read once that is done, by `choose_folder`."""
        if text != self._typed:
            self._typed, self._summary, self._cases = text, "", ()
            self.changed()

    def choose_folder(self, text: str) -> None:
        """Use this folder from now on, and read it. One of which nobody can know where it is gives way to the one in
        use."""
        if text == self._chosen == self._typed:
            return
        path = Path(text.strip()).expanduser() if text.strip() else None
        is_known = path is None or path.is_absolute()
        if is_known:
            self._chosen, self._message = str(path or ""), ""
        self._typed = self._chosen
        self._refused += not is_known
        self.look()
        if not is_known:
            what = _("{folder} does not say where it is").format(folder=path)
            error = InputError("relative-folder", what, _("type the whole path, from / or ~"))
            self._host.dialogs.show_error(error)

    def choose_author(self, initials: str) -> None:
        """Who stands for what is saved and approved."""
        self._author = initials.strip()
        self.changed()

    def look(self) -> None:
        """Read the folder anew. A folder that is no site yet is not an error: the first case makes it one."""
        folder, work, is_site = Path(self.folder) if self.folder else None, None, False
        try:
            work = self._logic.site_work(folder, _SHOWN_CASES) if folder else None
            self._summary, is_site = site_summary(work) if work else "", work is not None
        except UnreadableSite as error:
            self._summary, folder = _problem(error), None
        except CrossModalSegError as error:
            self._summary, is_site = _problem(error), True
        items = work.items if work else ()
        self._cases = tuple(
            WorkRow(one.case.id, one.case.id[:_SHOWN_ID], _(one.case.status), one.reason) for one in items
        )
        self._events.on_look(folder, is_site)
        self.changed()

    def save_correction(self) -> None:
        """Save the result that is shown; where nobody has changed it, only if the user says that it is right."""
        case, folder, author = self._case, self.folder, self._author
        if case is None or not folder:
            return

        def save(is_confirmed: bool) -> None:
            correct = lambda: self._logic.save_correction(case, folder, author, is_confirmed)
            if self._save(correct, _("Correction saved")):
                self._events.on_saved(case)

        is_unconfirmed = self._tried(lambda: self._logic.is_unconfirmed(case, folder, author))
        if is_unconfirmed:
            self._host.dialogs.ask(_untouched_question(author), _("Save as confirmed"), lambda: save(True))
        elif is_unconfirmed is False:
            save(False)

    def add_unlabelled(self) -> None:
        """Save the scans that are chosen, without labels."""
        bundle, volumes, folder = self._scans.bundle, self._scans.volumes, self.folder
        if self.state.can_add and bundle is not None:
            self._save(lambda: self._logic.add_unlabelled(volumes, bundle, folder), _("Added without labels"))

    def approve(self) -> None:
        """Stand for the revision that is shown."""
        case, folder, author = self._case, self.folder, self._author
        if case is None or not folder:
            return
        approved = self._tried(lambda: self._logic.approve(case, folder, author))
        if approved is not None:
            words = _("Revision {number} of case {case} is approved")
            self._done(words.format(number=approved.revision, case=approved.id))

    def open_case(self, case_id: str) -> None:
        """Load a case of the work list, by default the first one, into the scene."""
        bundle, folder = self._scans.bundle, self.folder
        known = [case.id for case in self._cases]
        if bundle is None or not known:
            return
        self._open(case_id if case_id in known else known[0], bundle, folder)

    def open_case_of(self, folder: str, case_id: str) -> None:
        """Use this folder, and load a case of it, whether it is to be corrected or not."""
        self.choose_folder(folder)
        if self._scans.bundle is not None:
            self._open(case_id, self._scans.bundle, self.folder)

    def _open(self, case_id: str, bundle: Bundle, folder: str) -> None:
        opened = self._tried(lambda: self._logic.open_site_case(case_id, bundle, folder))
        if opened is not None:
            self._events.on_open(opened)
            title = " + ".join(node.GetName() for node in opened.volumes.values())
            self._events.on_case(folder, case_id, title)

    def _save(self, save: Callable[[], SavedCase], words: str) -> bool:
        saved = self._tried(save)
        if saved is not None:
            others = self._tried(lambda: self._logic.same_scans_as(saved.id, self.folder)) or ()
            self._done(_saved(words, saved, others))
        return saved is not None

    def _done(self, message: str) -> None:
        self._message = message
        self.look()


def site_summary(work: SiteWork) -> str:
    """How many cases of which status there are, and which have been corrected twice or cannot be read."""
    counts = ", ".join(f"{count} {_(status)}" for status, count in work.counts.items())
    whole = sum(work.counts.values())
    text = (_("1 case: {counts}.") if whole == 1 else _("{all} cases: {counts}.")).format(all=whole, counts=counts)
    if work.forks:
        words = _("Corrected twice, independently: {listed}. Approve one of both.")
        text += " " + words.format(listed=_ids(work.forks))
    if work.damaged:
        words = _("Cannot be read: {listed}. The command crossmodalseg site verify says why.")
        more = len(work.damaged) - _NAMED
        listed = _ids(work.damaged[:_NAMED]) + (_(" and {more} more").format(more=more) if more > 0 else "")
        text += " " + words.format(listed=listed)
    return text


def _problem(error: CrossModalSegError) -> str:
    return f"{error.message} ({error.hint})"


def _ids(cases: Sequence[str]) -> str:
    return ", ".join(case[:_SHOWN_ID] for case in cases)


def _untouched_question(author: str) -> str:
    return _(
        "Nothing was changed in this result. Save it only if you have looked it over and it is right as it is: "
        "the model will learn it as true.\n\nSave it as confirmed by {author}?"
    ).format(author=author)


def _saved(words: str, saved: SavedCase, others: Sequence[str]) -> str:
    """Where a case was saved, or was already; whether somebody else has corrected it meanwhile; and which ``others``,
    of other patients, have one of its scans."""
    parts = [f"{_('These scans are in the site folder already') if saved.was_known else words}: {saved.folder}"]
    if saved.forks:
        fork = _("Somebody else has corrected this case, too: approve one of the revisions {listed}")
        parts.append(fork.format(listed=_(" and ").join(map(str, saved.forks))))
    if others:
        same = _("A scan of it is one of {listed}, under another patient: they count as one patient")
        parts.append(same.format(listed=_ids(others)))
    return ". ".join(parts)
