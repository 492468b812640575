"""The table that a cross-match writes: pairs, columns carried along, and how probable each pair is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astrolake.crossmatch.cells import MatchPlan, Piece
from astrolake.crossmatch.options import MatchOptions
from astrolake.crossmatch.sides import Rows
from astrolake.errors import BadArguments
from astrolake.schema import CROSSMATCH, Column, Table
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.positions import Matches
from astrolake.sky.probability import group_probabilities, log10_bayes_factor, p_single
from astrolake.sky.separation import Float64

PROBABILITY = (
    Column("sep_sigma", "float64", "Separation in units of its error, the quadratic sum of both sides'"),
    Column("log_bayes_factor", "float64", "log10 of the odds that both are one object, before the prior"),
    Column("p_single", "float64", "Probability that the pair is one object, other candidates left aside"),
    Column("p_i", "float64", "Probability that this candidate is the counterpart, if any is"),
    Column("p_any", "float64", "Probability that any candidate is the counterpart of the left row"),
)
#: Beside them where there are magnitude priors.
WEIGHT = Column("log_prior_weight", "float64", "log10 of the factor for the odds by the magnitude priors")


def crossmatch_table(left: Table, right: Table, options: MatchOptions) -> Table:
    """Return the declaration of the matches of two tables: the ids and what is carried keep their types.

    Raises
    ------
    BadArguments
        When two columns would have one name.
    """
    types = {"left_id": left.column(left.key[0]).type, "right_id": right.column(right.key[0]).type}
    columns = tuple(replace(c, type=types.get(c.name, c.type)) for c in CROSSMATCH.columns)
    carried = [_carried("left", left, name) for name in options.left_columns]
    carried += [_carried("right", right, name) for name in options.right_columns]
    table = replace(CROSSMATCH, name=f"crossmatches/{left.name}_x_{right.name}", columns=columns)
    try:
        return table.with_columns((*_probability(options), *carried))
    except ValueError as error:
        raise BadArguments(f"columns carried along: {error}") from error


def _probability(options: MatchOptions) -> tuple[Column, ...]:
    if not options.has_sigma:
        return ()
    return (*PROBABILITY, WEIGHT) if options.priors else PROBABILITY


def _carried(side: str, table: Table, name: str) -> Column:
    column = table.column(name)
    return replace(
        column, name=f"{side}_{name}", nullable=True, doc=f"{column.doc} ({table.name}.{name})".strip()
    )


def match_rows(plan: MatchPlan, piece: Piece) -> pa.Table:
    """Return the rows of the cross-match table for some matches."""
    left, right, matches = piece
    probable: dict[str, pa.Array] = {}
    if plan.options.has_sigma:
        matches, probable = _with_probabilities(plan, left, right, matches)
    no_match = pa.array(matches.right_index < 0)
    at_left = pa.array(matches.left_index)
    at_right = pc.if_else(no_match, pa.scalar(None, pa.int64()), pa.array(matches.right_index))
    ours, theirs = left.table, right.table
    columns = {name: ours.column(name).take(at_left) for name in (HEALPIX_COLUMN, "ra", "dec")}
    columns |= {
        "left_id": ours.column(plan.left.id_column).take(at_left),
        "right_id": theirs.column(plan.right.id_column).take(at_right),
        "sep_arcsec": pc.if_else(no_match, pa.scalar(None, pa.float64()), pa.array(matches.sep_arcsec)),
        "rank": pc.if_else(no_match, pa.scalar(None, pa.int32()), pa.array(matches.rank)),
    }
    columns |= {f"left_{name}": ours.column(name).take(at_left) for name in plan.options.left_columns}
    columns |= {f"right_{name}": theirs.column(name).take(at_right) for name in plan.options.right_columns}
    return pa.table(columns | probable)


def _with_probabilities(
    plan: MatchPlan, left: Rows, right: Rows, matches: Matches
) -> tuple[Matches, dict[str, pa.Array]]:
    """Rank all candidates by their probability, then keep what the mode wants."""
    log_bf, weight, sigma = candidate_odds(plan, left, right, matches)
    odds = log_bf + weight
    # Candidates of a row come by separation and id, which the stable sort keeps among equals.
    falling = np.where(np.isnan(odds), np.inf, -odds)
    order = np.lexsort((matches.rank, falling, matches.left_index))
    matches, log_bf, odds = matches[order], log_bf[order], odds[order]
    weight, sigma = weight[order], sigma[order]
    p_any, p_i = group_probabilities(matches.left_index, odds, plan.prior)
    p_any = np.where(matches.right_index < 0, 0.0, p_any)
    first = np.flatnonzero(np.diff(matches.left_index, prepend=-1))
    rank = np.arange(len(matches)) - np.repeat(first, np.diff(first, append=len(matches))) + 1
    rank = np.where(matches.right_index < 0, 0, rank).astype(np.int32)
    with np.errstate(divide="ignore", invalid="ignore"):
        sep_sigma = np.where(sigma > 0, matches.sep_arcsec / sigma, np.nan)
    keep = rank <= _wanted(plan.options)
    values = (sep_sigma, log_bf, p_single(odds, plan.prior), p_i, p_any, weight)
    declared = _probability(plan.options)
    probable = {c.name: _nullable(v[keep]) for c, v in zip(declared, values, strict=False)}
    return Matches(matches.left_index, matches.right_index, matches.sep_arcsec, rank)[keep], probable


def candidate_odds(
    plan: MatchPlan, left: Rows, right: Rows, matches: Matches
) -> tuple[Float64, Float64, Float64]:
    """Return each candidate's log10 of the Bayes factor, log10 of its priors' weight, and error in arcsec."""
    ours = plan.left.sigma_arcsec(left)[matches.left_index]
    # A row without partner has the index -1: the values appended here.
    theirs = np.append(plan.right.sigma_arcsec(right), np.nan)[matches.right_index]
    weight = np.zeros(len(right) + 1)
    for name, prior in plan.priors:
        weight[:-1] += prior.weights(right.floats(name))
    log_bf = log10_bayes_factor(matches.sep_arcsec, ours, theirs)
    return log_bf, weight[matches.right_index], np.hypot(ours, theirs)


def _wanted(options: MatchOptions) -> int:
    return {"nearest-n": options.n, "all": np.iinfo(np.int32).max}.get(options.mode, 1)


def _nullable(values: Float64) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
