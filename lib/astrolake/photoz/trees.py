"""Ensembles of decision trees as a few flat arrays: from MLlib or xgboost, evaluated by compiled code.

Features are replaced by their rank among the thresholds of all trees: comparing ranks decides exactly as
comparing values does, and a node then takes 4 bytes, so that a tree of thousands of leaves stays in the
cache while a block of galaxies runs through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.tree_walk import LANES, reach_items, reach_sums, to_ranks

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Array = NDArray[Any]

#: Rows that run through a tree while it is in the cache.
BLOCK = 16_384


@dataclass(frozen=True)
class Nodes:
    """The nodes of some trees as a library has them.

    Parameters
    ----------
    tree : (n,) int
        Which tree a node is of; nodes come tree by tree, from 0.
    feature : (n,) int
        Feature that an inner node asks for.
    threshold : (n,) float32
        Rows with feature <= threshold go left.
    left, right : (n,) int
        Children, counted within the tree from its root at 0; left is negative at a leaf.
    value : (n,) float64
        What a leaf adds.
    missing_left : (n,) bool
        Whether rows without the feature (NaN) go left.
    """

    tree: Int64
    feature: Int64
    threshold: Float32
    left: Int64
    right: Int64
    value: Float64
    missing_left: NDArray[np.bool_]


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees in breadth-first order; the children of the k-th inner node of a tree are 1 + 2 k and 2 + 2 k.

    Parameters
    ----------
    n_features : int
    offsets : (trees + 1,) int64
        First node of each tree.
    depths : (trees,) int64
    slot : (nodes,) uint8 or uint16
        Which list of thresholds an inner node's is of.
    rank : (nodes,) uint8 or uint16
        Place of the threshold in that list; the largest number of its type at leaves.
    value : (leaves,) float32
        What a leaf adds, in the order of the nodes.
    slot_feature, slot_missing_low : (slots,)
        Feature of each list, and whether NaN counts as below all of it (else as above).
    cut_offsets : (slots + 1,) int64
    cuts : float32
        The lists, each sorted, one after the other.
    base, factor : float
        A prediction is base + factor * (sum of the leaves' values).
    """

    n_features: int
    offsets: Int64
    depths: Int64
    slot: Array
    rank: Array
    value: Float32
    slot_feature: Int64
    slot_missing_low: NDArray[np.bool_]
    cut_offsets: Int64
    cuts: Float32
    base: float = 0.0
    factor: float = 1.0
    #: The table that `gather` was last given, and the same by node.
    _by_node: ClassVar[tuple[Array, Array] | None] = None

    def __post_init__(self) -> None:
        # The compiled walk checks nothing: what it will index with is checked here.
        if not self._is_whole():
            raise BadInput("these arrays are no ensemble of trees; train the model again")

    def _is_whole(self) -> bool:
        """Return whether no index in the arrays leads out of them."""
        if self.slot.dtype != self.rank.dtype or self.rank.dtype not in (np.uint8, np.uint16):
            return False
        slots, leaves = len(self.slot_feature), int(self.is_leaf.sum())
        return (
            len(self.offsets) > 1
            and self.offsets[0] == 0
            and len(self.slot) == len(self.rank) == self.offsets[-1]
            and bool((np.diff(self.offsets) > 0).all())
            and len(self.depths) == self.n_trees
            and bool(((self.depths >= 0) & (self.depths < np.diff(self.offsets))).all())
            and len(self.value) == leaves == (len(self.slot) + self.n_trees) // 2
            and len(self.cut_offsets) == slots + 1
            and self.cut_offsets[-1] == len(self.cuts)
            and len(self.slot_missing_low) == slots
            and self.cut_offsets[0] == 0
            and bool((np.diff(self.cut_offsets) >= 0).all())
            and bool(((self.slot_feature >= 0) & (self.slot_feature < self.n_features)).all())
            # Walks read the slot of leaves, too.
            and bool((self.slot < max(slots, 1)).all())
            and self._has_both_children()
        )

    @classmethod
    def of(cls, nodes: Nodes, n_features: int, base: float = 0.0, factor: float = 1.0) -> TreeEnsemble:
        """Return the ensemble of the nodes.

        Raises
        ------
        BadInput
            When there is no tree.
        """
        if not len(nodes.tree):
            raise BadInput("the model has no trees")
        order, level = breadth_first(nodes)
        tree, inner = nodes.tree[order], nodes.left[order] >= 0
        offsets = np.append(0, np.cumsum(np.bincount(tree)))
        feature, threshold = nodes.feature[order][inner], nodes.threshold[order][inner]
        low = nodes.missing_left[order][inner]
        slots, slot = np.unique(2 * feature + low, return_inverse=True)
        lists = [np.unique(threshold[slot == k]) for k in range(len(slots))]
        longest = max((len(cuts) for cuts in lists), default=0)
        narrow = longest < 256 and len(slots) < 256 and np.diff(offsets).max() <= 1 << 16
        kind = np.uint8 if narrow else np.uint16
        if not narrow and max(longest, len(slots)) >= 1 << 16:
            raise BadInput(f"the model has {longest} thresholds of one feature; train it with fewer bins")
        rank = np.full(len(order), np.iinfo(kind).max, kind)
        where = np.flatnonzero(inner)
        for k, cuts in enumerate(lists):
            rank[where[slot == k]] = np.searchsorted(cuts, threshold[slot == k])
        all_slots = np.zeros(len(order), kind)
        all_slots[where] = slot
        return cls(
            n_features,
            offsets.astype(np.int64),
            np.maximum.reduceat(level, offsets[:-1]),
            all_slots,
            rank,
            nodes.value[order][~inner].astype(np.float32),
            slots >> 1,
            (slots & 1).astype(bool),
            np.append(0, np.cumsum([len(cuts) for cuts in lists])).astype(np.int64),
            np.concatenate([*lists, np.empty(0, np.float32)]).astype(np.float32),
            base,
            factor,
        )

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.offsets) - 1

    @property
    def n_leaves(self) -> int:
        """Number of leaves of all trees."""
        return len(self.value)

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Whether each node is a leaf."""
        return np.asarray(self.rank == np.iinfo(self.rank.dtype).max)

    def predict(self, features: Float32) -> Float64:
        """Return the predictions of (n, n_features) float32 features, (n,) float64.

        Equivalent to following each row down each tree, ``left if x <= threshold else right``, and adding
        up the leaves' values.
        """
        result = np.empty(len(features))
        for start in range(0, len(features), BLOCK):
            ranks = self.ranks(features[start : start + BLOCK])
            sums = np.zeros(len(ranks))
            reach_sums(self._packed, self.offsets, self.depths, self._values, ranks, sums)
            stop = min(start + BLOCK, len(features))
            result[start:stop] = self.base + self.factor * sums[: stop - start]
        return result

    def leaves(self, features: Float32) -> NDArray[np.uint32]:
        """Return the leaf that each row reaches in each tree, (trees, n), counted over all trees."""
        numbers = np.arange(self.n_leaves, dtype=np.uint32)
        blocks = [features[s : s + BLOCK] for s in range(0, max(len(features), 1), BLOCK)]
        return np.concatenate([self.gather(rows, numbers)[:, : len(rows)] for rows in blocks], axis=1)

    def gather(self, features: Float32, table: Array) -> Array:
        """Return ``table[leaves(features)]``, (trees, at least n), for a table of one item a leaf."""
        known = self._by_node
        if known is None or known[0] is not table:
            by_node = np.zeros(len(self.slot), table.dtype)
            by_node[self.is_leaf] = table
            known = table, by_node
            object.__setattr__(self, "_by_node", known)
        ranks = self.ranks(features)
        found = np.empty((self.n_trees, len(ranks)), table.dtype)
        reach_items(self._packed, self.offsets, self.depths, known[1], ranks, found)
        return found

    def ranks(self, features: Float32) -> Array:
        """Return the ranks of rows' features, rows rounded up to a multiple of `LANES`."""
        rows = np.ascontiguousarray(features, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise BadInput(f"features of shape {rows.shape}; the trees know {self.n_features} features")
        found = np.zeros((-(-len(rows) // LANES) * LANES, max(len(self.slot_feature), 1)), self.rank.dtype)
        to_ranks(rows, self.slot_feature, self.slot_missing_low, self.cut_offsets, self.cuts, found)
        return found

    def arrays(self) -> dict[str, Array]:
        """Return what `from_arrays` reads."""
        return {f.name: np.atleast_1d(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> TreeEnsemble:
        """Return the ensemble that `arrays` came from.

        Raises
        ------
        BadInput
            When they are none.
        """
        given: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls)}
        given["n_features"] = int(given["n_features"].item())
        given |= {name: float(given[name].item()) for name in ("base", "factor")}
        return cls(**given)

    def _has_both_children(self) -> bool:
        """Return whether each tree has two nodes for each inner one, besides its root, none too far."""
        inner = np.add.reduceat(~self.is_leaf, self.offsets[:-1], dtype=np.int64)
        return bool((np.diff(self.offsets) == 1 + 2 * inner).all())

    @cached_property
    def _packed(self) -> Array:
        """Nodes as one number each: left child, rank, slot, from the highest bits to the lowest."""
        leaf = self.is_leaf
        sizes = np.diff(self.offsets)
        first = np.repeat(self.offsets[:-1], sizes)
        number = np.arange(len(leaf)) - first
        seen = np.cumsum(~leaf)
        inner_before = seen - np.repeat(seen[self.offsets[:-1]] - ~leaf[self.offsets[:-1]], sizes) - 1
        # A leaf is its own left child, and no rank is above its own: walks may go on too long.
        left = np.where(leaf, number, 1 + 2 * inner_before)
        kind, bits = (np.dtype(np.uint32), 8) if self.rank.dtype == np.uint8 else (np.dtype(np.uint64), 16)
        high = np.left_shift(left.astype(kind), kind.type(2 * bits))
        middle = np.left_shift(self.rank.astype(kind), kind.type(bits))
        packed: Array = high | middle | self.slot.astype(kind)
        return packed

    @cached_property
    def _values(self) -> Float32:
        values = np.zeros(len(self.slot), np.float32)
        values[self.is_leaf] = self.value
        return values


def breadth_first(nodes: Nodes) -> tuple[Int64, Int64]:
    """Return the nodes that can be reached, tree by tree in breadth-first order, and their levels."""
    sizes = np.bincount(nodes.tree)
    first = np.append(0, np.cumsum(sizes))[:-1]
    level, levels = first, []
    while len(level):
        levels.append(level)
        inner = level[nodes.left[level] >= 0]
        root = first[nodes.tree[inner]]
        level = np.column_stack([root + nodes.left[inner], root + nodes.right[inner]]).ravel()
        if len(levels) > len(nodes.tree):
            raise BadInput("the nodes of the model form no trees")
    order = np.concatenate(levels)
    depth = np.repeat(np.arange(len(levels)), [len(part) for part in levels])
    by_tree = np.argsort(nodes.tree[order], kind="stable")
    return order[by_tree], depth[by_tree]


def at_most(threshold: Float64) -> Float32:
    """Return the largest float32 <= each threshold: float32 features compare with both alike."""
    rounded = threshold.astype(np.float32)
    above = rounded.astype(np.float64) > threshold
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def below(threshold: Float32) -> Float32:
    """Return the largest float32 < each threshold: ``x < t`` becomes ``x <= below(t)``."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(-np.inf))
