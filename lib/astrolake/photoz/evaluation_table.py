"""Accuracy in bins of magnitude, redshift or type, with errors from the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments
from astrolake.photoz.metrics import CATASTROPHIC, OUTLIER, Residuals

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: Rows drawn for one bootstrap sample at most; the error is scaled to that of all rows.
_MOST_DRAWN = 20_000
#: Samples that are drawn at a time, which bounds memory.
_AT_A_TIME = 16


def _within_error(rows: Residuals) -> Float64 | None:
    if rows.error is None:
        return None
    return np.where(rows.error > 0, np.abs(rows.difference) <= rows.error, np.nan).astype(np.float64)


#: The metrics of a table that are means over galaxies, from what they are means of.
_MEANS: dict[str, Callable[[Residuals], Float64 | None]] = {
    "mean_bias": lambda rows: rows.dz,
    "outlier_fraction": lambda rows: (np.abs(rows.dz) > OUTLIER).astype(np.float64),
    "catastrophic_fraction": lambda rows: (np.abs(rows.difference) > CATASTROPHIC).astype(np.float64),
    "coverage_68": _within_error,
    "pdf_coverage_68": lambda rows: _within(rows, 0.16),
    "pdf_coverage_95": lambda rows: _within(rows, 0.025),
    "crps": lambda rows: None if rows.scores is None else rows.scores.crps,
    "cde_loss": lambda rows: None if rows.scores is None else rows.scores.cde,
}


def evaluation_table(
    rows: Residuals,
    by: ArrayLike,
    bins: int | Sequence[float] = 5,
    bootstrap: int = 200,
    seed: int = 1,
) -> pd.DataFrame:
    """Return accuracy in bins of a quantity, or for each value of a type.

    Parameters
    ----------
    rows : Residuals
        From `metrics.compare` of n galaxies.
    by : (n,) array
        What the galaxies are binned by: numbers (magnitude, redshift), or strings or booleans (type), which
        make one row each. Where it is missing, or outside given edges, the galaxy is in no bin.
    bins : int or sequence of float
        Bins of equal numbers of galaxies, or their edges, ascending; the last bin holds its upper edge.
    bootstrap : int
        Samples for the errors (Efron 1979, Ann. Statist. 7, 1); 0 leaves errors out. Of more than 20,000
        galaxies in a bin as many are drawn and errors scaled (m out of n: Bickel, Götze & van Zwet 1997).
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns bin (text), low, high (NaN for types), median (of `by`), n, then metrics as `metrics.evaluate`
        names them: scatter, bias, outlier_fraction, catastrophic_fraction, mean_bias and, where errors or
        densities are given, coverage_68, pdf_coverage_68, pdf_coverage_95, crps, cde_loss, pit_ks. Each
        but pit_ks has a column ``<metric>_err``: its standard deviation. Empty bins have NaN.

    Raises
    ------
    BadArguments
        For edges that do not ascend, or a `by` of another length.
    """
    values = by.to_numpy() if isinstance(by, pd.Series) else np.asarray(by)
    if values.shape != rows.used.shape:
        raise BadArguments(
            f"by has the shape {values.shape}; each of {rows.used.size} galaxies needs a value"
        )
    rng = np.random.default_rng(seed)
    out = []
    for place, chosen in _groups(values[rows.used], bins):
        group = rows[chosen]
        out.append({**place, "n": group.dz.size, **_row(group, bootstrap, rng)})
    return pd.DataFrame(out)


def _groups(values: NDArray[np.generic], bins: int | Sequence[float]) -> list[tuple[dict[str, object], Bool]]:
    """Return each bin's description and which galaxies are in it."""
    if values.dtype.kind not in "iuf":
        names = pd.Series(values)
        kinds = sorted(names.dropna().unique(), key=str)
        none = {"low": np.nan, "high": np.nan, "median": np.nan}
        return [({"bin": str(kind), **none}, (names == kind).to_numpy(dtype=bool)) for kind in kinds]
    numbers = values.astype(np.float64)
    edges = _edges(numbers, bins)
    out: list[tuple[dict[str, object], Bool]] = []
    for k, (low, high) in enumerate(pairwise(edges)):
        last = k == len(edges) - 2
        chosen = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
        middle = float(np.median(numbers[chosen])) if chosen.any() else np.nan
        name = f"{low:.4g} - {high:.4g}"
        out.append(({"bin": name, "low": float(low), "high": float(high), "median": middle}, chosen))
    return out


def _edges(numbers: Float64, bins: int | Sequence[float]) -> Float64:
    if isinstance(bins, int | np.integer):
        known = numbers[np.isfinite(numbers)]
        if bins < 1 or known.size == 0:
            raise BadArguments(f"{bins} bins of {known.size} numbers: give at least one of each")
        return np.unique(np.quantile(known, np.linspace(0.0, 1.0, int(bins) + 1)))
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise BadArguments(f"bins={bins!r}: give a number of bins, or at least two ascending edges")
    return edges


def _row(rows: Residuals, bootstrap: int, rng: np.random.Generator) -> dict[str, float]:
    means = {name: values for name, take in _MEANS.items() if (values := take(rows)) is not None}
    names = ["scatter", "bias", *means]
    if not rows.dz.size:
        blank = dict.fromkeys(names, np.nan)
        return blank | ({f"{name}_err": np.nan for name in names} if bootstrap else {})
    metrics = rows.metrics()
    found = {name: metrics[name] for name in names if name in metrics}
    found |= {"pit_ks": metrics["pit_ks"]} if rows.scores is not None else {}
    if bootstrap:
        errors = _bootstrap(rows.dz, list(means.values()), bootstrap, rng)
        found |= {f"{name}_err": float(error) for name, error in zip(names, errors, strict=True)}
    return found


def _bootstrap(dz: Float64, means: list[Float64], samples: int, rng: np.random.Generator) -> Float64:
    """Return the standard deviations of scatter, bias and the means."""
    drawn = min(dz.size, _MOST_DRAWN)
    table = np.stack(means)
    found = []
    for start in range(0, samples, _AT_A_TIME):
        chosen = rng.integers(0, dz.size, (min(_AT_A_TIME, samples - start), drawn))
        sample = dz[chosen]
        bias = np.median(sample, axis=1)
        scatter = 1.4826 * np.median(np.abs(sample - bias[:, np.newaxis]), axis=1)
        found.append(np.column_stack([scatter, bias, *(np.nanmean(row[chosen], axis=1) for row in table)]))
    return np.asarray(np.std(np.concatenate(found), axis=0, ddof=1) * np.sqrt(drawn / dz.size))


def _within(rows: Residuals, tail: float) -> Float64 | None:
    if rows.scores is None:
        return None
    pit = rows.scores.pit
    return ((pit >= tail) & (pit <= 1.0 - tail)).astype(np.float64)
