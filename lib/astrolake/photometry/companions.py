"""Finds the weight and mask images that belong to a science image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SUFFIX = re.compile(r"(?:\.(?:fits?|fts))?(?:\.(?:fz|gz|bz2))?$", re.IGNORECASE)
#: Names of images without suffix, those of their weights and masks, and what the weights are.
_COMPANIONS = (
    # NOIRLab Community Pipeline: ...ooi... image, ...oow... inverse variance, ...ood... data quality.
    (re.compile(r"(\w{3}_\d{6}_\d{6}_[a-z]{2})i(_.*)"), r"\1w\2", r"\1d\2", "invvar"),
    # Legacy Surveys coadds: ...-image-g, ...-invvar-g; maskbits also flag good pixels and do not serve.
    (re.compile(r"(legacysurvey-.+)-image-(\w+)"), r"\1-invvar-\2", "", "invvar"),
    # SDSS: frame-r-002583-2-0136 and the planes of its mask, fpM-002583-r2-0136.
    (re.compile(r"frame-([ugriz])-(\d{6})-(\d)-(\d{4})"), "", r"fpM-\2-\1\3-\4", "invvar"),
    # unWISE: unwise-0000p000-w1-img-m, ...-invvar-m.
    (re.compile(r"(unwise-\d{4}[pm]\d{3}-w[1-4])-img-([mu])"), r"\1-invvar-\2", "", "invvar"),
    # WISE Atlas: 0000p000_ac51-w1-int-3 and the 1-sigma uncertainty of its pixels, ...-unc-3.
    (re.compile(r"(\d{4}[pm]\d{3}_\w{4}-w[1-4])-int-3"), r"\1-unc-3", "", "sigma"),
    # Pan-STARRS1: ...stk.i.unconv and its variance, ...stk.i.unconv.wt; masks flag good pixels, too.
    (
        re.compile(r"(rings\.v3\.skycell\.\d{4}\.\d{3}\.(?:stk\.[grizy]\.unconv|wrp\.[grizy]\.\w+))"),
        *(r"\1.wt", "", "variance"),
    ),
)


@dataclass(frozen=True)
class Companions:
    """Names of the files beside a science image; None where there is none.

    Parameters
    ----------
    weight : str or None
        What pixels are uncertain by, in units of the image, in the same HDU as the image.
    mask : str or None
        Not 0 at bad pixels, in the same HDU as the image; or an fpM file of SDSS.
    weight_kind : str
        invvar (inverse variance), variance, or sigma (standard deviation).
    """

    weight: str | None = None
    mask: str | None = None
    weight_kind: str = "invvar"


def may_have_companions(name: str) -> bool:
    """Whether a file of this name can have companions, so that its directory is worth listing."""
    return any(_expected(name)[:2])


def find_companions(name: str, siblings: Sequence[str]) -> Companions:
    """Return the companions of a science image among the files of its directory.

    Parameters
    ----------
    name : str
        Name of the image's file, without directory.
    siblings : sequence of str
        Names in its directory; the suffix (.fits, .fits.fz, .fits.gz) may differ from the image's.

    Returns
    -------
    Companions
        Of several files that fit, the first in alphabetical order.
    """
    *expected, kind = _expected(name)
    if not any(expected):
        return Companions()
    by_stem: dict[str, str] = {}
    for sibling in sorted(siblings):
        by_stem.setdefault(_stem(sibling), sibling)
    weight, mask = (by_stem.get(stem) if stem else None for stem in expected)
    return Companions(weight, mask, kind)


def _expected(name: str) -> tuple[str | None, str | None, str]:
    """Return the names, without suffix, of weight and mask that an image may have, and the weight's kind."""
    stem = _stem(name)
    for pattern, weight, mask, kind in _COMPANIONS:
        if found := pattern.fullmatch(stem):
            return found.expand(weight) or None, found.expand(mask) or None, kind
    return None, None, "invvar"


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name, count=1)
