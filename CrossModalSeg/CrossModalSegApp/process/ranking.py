"""Ranking a site's cases for a view: a model scores them in a process of its own, so that the work list has an order.

The process is ``crossmodalseg site rank SITE --events``; the scores are kept as they are found. Knows no widgets.
"""

from pathlib import Path

from CrossModalSegApp.process.background_command import BackgroundCommand, Launcher
from CrossModalSegLib.bundles.bundle import Bundle


class CaseRanking(BackgroundCommand):
    """At most one ranking at a time."""

    def __init__(self, launch: Launcher):
        super().__init__(launch, "ranking", "ranking-died")

    def start(self, site: Path, bundle: Bundle, device: str = "auto") -> None:
        """Let ``bundle`` score the cases that it has not scored yet; returns at once. Raises InputError ``busy``."""
        self.run(["site", "rank", str(site), "--bundle", str(bundle.path), "--device", device])
