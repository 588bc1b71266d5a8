"""Which bundle a fine-tuning begins with, and what its child is called."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from CrossModalSegLib.bundles.bundle import Bundle, bundle_search_path, list_bundles, load_bundle
from CrossModalSegLib.errors import BundleError
from CrossModalSegLib.site.cases import SiteCase
from CrossModalSegLib.site.learnt_cases import known_patients
from CrossModalSegLib.site.models import MODELS, generation, site_models

STARTER = "brain-mr-pair"


def choose_base(site: Path, name: str | None, cases: Sequence[SiteCase]) -> Bundle:
    """The bundle to begin with: the one that is named; else the site's newest model; else the one that most corrections
    began with; else the starter bundle. Raises BundleError."""
    places = (site / MODELS, *bundle_search_path())
    if name:
        return load_bundle(name, places)
    own = site_models(site)
    if own:
        return load_bundle(newest(own).path)
    begun = Counter(one.bundle["name"] for case in cases for one in case.revisions if one.bundle.get("name"))
    known = {bundle.name for bundle in list_bundles(places)}
    named = [bundle for bundle, _count in begun.most_common() if bundle in known]
    return load_bundle(named[0] if named else STARTER, places)


def learnt_patients(site: Path, cases: Sequence[SiteCase], damaged: Collection[str] = ()) -> set[str]:
    """The patients of whom the site's newest model has learnt. None where the site has no model of its own, or where
    some of its cases are ``damaged``: whose they are is not known."""
    own = site_models(site)
    return known_patients(newest(own), cases) if own and not damaged else set()


def newest(models: Sequence[Bundle]) -> Bundle:
    """The last descendant: of those that are no other's parent, the one of the highest generation."""
    parents = {model.parent for model in models}
    leaves = [model for model in models if model.sha256 not in parents] or list(models)
    return max(leaves, key=lambda model: (generation(model.name), model.created, model.name))


def base_of_plan(site: Path, planned: str, sha256: str, name: str | None = None) -> Bundle:
    """The parent of a run that is resumed, by the name and the hash that it was ``planned`` with; another ``name`` may
    be given. Raises BundleError ``base-differs`` where it cannot be found."""
    places = (site / MODELS, *bundle_search_path())
    same = [one for one in list_bundles(places) if one.sha256 == sha256 and not name]
    bundle = load_bundle(same[0].path if same else name or planned, places)
    if bundle.sha256 != sha256:
        what = f"bundle {bundle.name} is {bundle.sha256[:12]}, the run began with {sha256[:12]}"
        raise BundleError("base-differs", what, "give --base with the folder of the bundle that the run began with")
    return bundle


def next_version(name: str, base: str) -> str:
    """The base's version with the generation as its last part: 0.1.0+site.2."""
    return f"{base.split('+', maxsplit=1)[0]}+site.{max(1, generation(name)[0])}"
