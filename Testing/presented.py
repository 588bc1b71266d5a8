"""The sections of a view that draws nothing, and answers each question with yes."""

from collections.abc import Callable
from typing import Any

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.logic.scans_presenter import MemoryStore, ScansPresenter
from CrossModalSegApp.logic.sections import Sections, ViewEvents
from CrossModalSegLib.errors import CrossModalSegError


class Presented:
    """``asked`` and ``errors`` are what the user was asked and told; ``answers`` says yes or no, yes by default."""

    def __init__(self, logic: SegmentationLogic, model: str):
        self.asked: list[str] = []
        self.errors: list[CrossModalSegError] = []
        self.answers: list[bool] = []
        self.places: list[Any] = []
        host = Host(self, lambda: "cpu")
        self.scans = ScansPresenter(logic, host, lambda: None)
        self.sections = Sections(logic, self.scans, host, ViewEvents(lambda _case: None, self.places.append))
        self.scans.open(MemoryStore(model))

    def show_error(self, error: CrossModalSegError) -> None:
        self.errors.append(error)

    def ask(
        self, question: str, _action: str, on_yes: Callable[[], None], on_no: Callable[[], None] = lambda: None
    ) -> None:
        self.asked.append(question)
        (on_yes if not self.answers or self.answers.pop(0) else on_no)()
