"""Colours for seeing structures over a scan. The label map keeps its own, which files and bundles have.

All are at least 3 : 1 in contrast to black and to white (WCAG 2.2: relative luminance from 0.1 to 0.3). Structures of
the brain that are neighbours also differ by a CIEDE2000 of at least 20 for people with deuteranopia; left and right
have shades of one colour. The tests say what is a neighbour, and hold all of this.
"""

from collections.abc import Iterable

Color = tuple[float, float, float]  # red, green, blue, 0 to 1

_SIDES = ("left", "right")
_PAIRED = {  # left, right
    "cerebral white matter": ("#4ba569", "#00695a"),
    "cerebral cortex": ("#2d695a", "#78965a"),
    "lateral ventricle": ("#9678ff", "#5a4bb4"),
    "inferior lateral ventricle": ("#964b69", "#d27869"),
    "cerebellar white matter": ("#7887ff", "#3c5aa5"),
    "cerebellar cortex": ("#f00f78", "#ff4bb4"),
    "thalamus": ("#3c5aa5", "#7887ff"),
    "caudate": ("#1e692d", "#00a55a"),
    "putamen": ("#c300ff", "#960fc3"),
    "pallidum": ("#a52d78", "#e14bc3"),
    "hippocampus": ("#ff4bb4", "#d25a96"),
    "amygdala": ("#3c5aa5", "#4b96f0"),
    "accumbens": ("#ff4bb4", "#d25a96"),
    "ventral diencephalon": ("#9678ff", "#5a4bb4"),
}
_SINGLE = {
    "third ventricle": "#e15aa5",
    "fourth ventricle": "#ff5a00",
    "brain stem": "#00695a",
    "cerebrospinal fluid": "#2d6900",
}
# For other structures, in turn: any two differ as much as neighbours have to.
_OTHERS = ("#7777ff", "#994400", "#ff44bb", "#336655", "#ff5500", "#006688", "#ee5588")


def display_colors(names: Iterable[str]) -> dict[str, Color]:
    """The colour of each structure, by name; the same whenever the names are."""
    known = {name: color for name in names if (color := _known(name))}
    others = [name for name in names if name not in known]
    rest = {name: _OTHERS[number % len(_OTHERS)] for number, name in enumerate(others)}
    return {name: _parts(color) for name, color in (known | rest).items()}


def _known(name: str) -> str:
    side, _, structure = name.partition(" ")
    if side in _SIDES and structure in _PAIRED:
        return _PAIRED[structure][_SIDES.index(side)]
    return _SINGLE.get(name, "")


def _parts(color: str) -> Color:
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue
