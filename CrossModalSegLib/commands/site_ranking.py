"""``crossmodalseg site rank``: a model scores the cases, for the order in which they are corrected."""

import argparse
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.site_listing import store_of
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.progress import RunProgress

if TYPE_CHECKING:
    from CrossModalSegLib.site.cases import SiteCase

STAGE = "scoring the cases"


def rank_cases(args: argparse.Namespace) -> int:
    """Let a model score the cases; a ranking that was stopped goes on. Returns 1 where some cannot be scored."""
    with Display(args.events) as show:
        return _rank(args, show)


def _rank(args: argparse.Namespace, show: Display) -> int:
    from CrossModalSegLib.adaptation.case_ranking import rank_site
    from CrossModalSegLib.adaptation.run_lock import only_ranking
    from CrossModalSegLib.inference.inference import Segmenter
    from CrossModalSegLib.site.finetune_base import choose_base

    store = store_of(args)
    segmenter = Segmenter(choose_base(args.site, args.bundle, store.cases()), args.device)
    progress, failed = RunProgress({STAGE: 1.0}, shown_by=0.0), list[str]()

    def report(done: int, of: int) -> None:
        show.progress(progress.update(STAGE, done / of, f"case {done + 1} of {of}"))

    def leave_out(case: "SiteCase", error: CrossModalSegError) -> None:
        failed.append(case.id)
        show.message(f"case {case.id} is left out: {error.message if args.events else error}")

    with only_ranking(args.site):
        ranking = rank_site(store, segmenter, report, args.limit, leave_out)
    show.message(f"scored by {segmenter.bundle.name}: {counted(len(ranking.scores), 'case')}")
    show.done(scored=len(ranking.scores), left_out=len(failed))
    return int(bool(failed))
