"""``crossmodalseg site rank``: a model scores the cases, for the order in which they are corrected."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.site_listing import store_of
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.plurals import counted

if TYPE_CHECKING:
    from CrossModalSegLib.site.cases import SiteCase


def rank_cases(args: argparse.Namespace) -> int:
    """Let a model score the cases; a ranking that was stopped goes on. Returns 1 where some cannot be scored."""
    try:
        return _rank(args)
    except CrossModalSegError as error:
        if args.events:
            _say("failed", code=error.code, message=error.message, hint=error.hint)
        raise


def _rank(args: argparse.Namespace) -> int:
    from CrossModalSegLib.adaptation.case_ranking import rank_site
    from CrossModalSegLib.adaptation.run_lock import only_ranking
    from CrossModalSegLib.inference.inference import Segmenter
    from CrossModalSegLib.site.finetune_base import choose_base

    store = store_of(args)
    segmenter = Segmenter(choose_base(args.site, args.bundle, store.cases()), args.device)
    show = _Display(args.events)
    with only_ranking(args.site):
        ranking = rank_site(store, segmenter, show.progress, args.limit, show.left_out)
    show.end(len(ranking.scores), segmenter.bundle.name)
    return int(bool(show.failed))


class _Display:
    """What a person, or with --events a program, sees of a ranking."""

    def __init__(self, events: bool):
        self.failed: list[str] = []
        self._events, self._started = events, time.monotonic()

    def progress(self, done: int, of: int) -> None:
        words = f"case {done + 1} of {of}"
        if self._events:
            left = (time.monotonic() - self._started) / done * (of - done) if done else None
            _say("progress", stage="scoring the cases", fraction=done / of, seconds_left=left, words=words)
        else:
            print(f"\r{words}", end="", file=sys.stderr, flush=True)

    def left_out(self, case: "SiteCase", error: CrossModalSegError) -> None:
        self.failed.append(case.id)
        if self._events:
            _say("message", text=f"case {case.id} is left out: {error.message}")
        else:
            print(f"\ncase {case.id} is left out: {error}", file=sys.stderr)

    def end(self, scored: int, model: str) -> None:
        if self._events:
            _say("done", scored=scored, left_out=len(self.failed))
        else:
            print(f"\nscored by {model}: {counted(scored, 'case')}", file=sys.stderr)


def _say(event: str, **facts: object) -> None:
    """One line of JSON on stdout."""
    print(json.dumps({"event": event, **facts}), flush=True)
