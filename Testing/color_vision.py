"""How different colours look: contrast, CIEDE2000, and what people with deuteranopia see. For tests."""

from collections.abc import Sequence

import numpy as np

Rgb = Sequence[float]  # red, green, blue of sRGB, 0 to 1
# Machado, Oliveira and Fernandes, A physiologically-based model for simulation of color vision deficiency, 2009:
# deuteranomaly of severity 1.0, in linear RGB.
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)
_D65 = _TO_XYZ @ np.ones(3)


def contrast(first: Rgb, second: Rgb) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    lower, upper = sorted(float(_TO_XYZ[1] @ _linear(color)) for color in (first, second))
    return (upper + 0.05) / (lower + 0.05)


def seen_by_deuteranopes(color: Rgb) -> Rgb:
    """What looks to everybody as ``color`` does to people with deuteranopia."""
    linear = np.clip(_DEUTERANOPIA @ _linear(color), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).tolist()


def difference(first: Rgb, second: Rgb) -> float:
    """CIEDE2000 of two colours."""
    return ciede2000(_lab(first), _lab(second))


def lightness(color: Rgb) -> float:
    """L* from 0 to 100."""
    return float(_lab(color)[0])


def ciede2000(first: Sequence[float], second: Sequence[float]) -> float:
    """The difference of two colours in L*, a*, b* (Sharma, Wu and Dalal, The CIEDE2000 color-difference
    formula, 2005)."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, (1 + g) * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = h1 + turn / 2 if c1 * c2 else h1 + h2
    d_lightness, d_chroma = l2 - l1, c2 - c1
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = 60 * np.exp(-((((hue % 360) - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(rotation))
    parts = d_lightness / s_l, d_chroma / s_c, d_hue / s_h
    return float(np.sqrt(sum(part**2 for part in parts) + r_t * parts[1] * parts[2]))


def _cos(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def _linear(color: Rgb) -> np.ndarray:
    values = np.asarray(color, dtype=float)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(color: Rgb) -> np.ndarray:
    ratio = _TO_XYZ @ _linear(color) / _D65
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
