import json

import numpy as np
import pytest

from astrolake.errors import BadInput
from astrolake.photoz.forest import ForestLearner, GbtLearner, leaf_labels
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import density_scores
from astrolake.photoz.tree_formats import from_xgboost
from astrolake.photoz.trees import Nodes, TreeEnsemble, at_most, below

GRID = RedshiftGrid(0.0, 1.5, 0.01)


def random_nodes(rng: np.random.Generator, trees: int, features: int, depth: int, cuts: int | None) -> Nodes:
    """Trees of random shape in depth-first order, as MLlib numbers them."""
    rows: list[tuple] = []
    values = rng.normal(size=(features, cuts or 1)).astype(np.float32)

    def grow(tree: int, start: int, level: int) -> int:
        number = len(rows) - start
        rows.append(())
        if level == depth or (level > 1 and rng.random() < 0.2):
            rows[start + number] = (tree, -1, np.float32(0), -1, -1, rng.normal(), False)
            return number
        feature = int(rng.integers(features))
        cut = rng.choice(values[feature]) if cuts else np.float32(rng.normal())
        left = grow(tree, start, level + 1)
        right = grow(tree, start, level + 1)
        rows[start + number] = (tree, feature, cut, left, right, 99.0, bool(rng.random() < 0.5))
        return number

    for tree in range(trees):
        grow(tree, len(rows), 0)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    types = (np.int64, np.int64, np.float32, np.int64, np.int64, np.float64, bool)
    return Nodes(*(column.astype(kind) for column, kind in zip(columns, types, strict=True)))


def slow_sums(nodes: Nodes, rows: np.ndarray) -> np.ndarray:
    """Every row down every tree, one step at a time."""
    sums = np.zeros(len(rows))
    first = np.searchsorted(nodes.tree, np.arange(nodes.tree.max() + 1))
    for i, row in enumerate(rows):
        for root in first:
            at = root
            while nodes.left[at] >= 0:
                x = row[nodes.feature[at]]
                left = nodes.missing_left[at] if np.isnan(x) else x <= nodes.threshold[at]
                at = root + (nodes.left[at] if left else nodes.right[at])
            sums[i] += nodes.value[at]
    return sums


@pytest.mark.parametrize(("depth", "cuts", "kind"), [(6, 40, np.uint8), (10, None, np.uint16)])
def test_predictions_are_those_of_single_steps_down_the_trees(depth, cuts, kind):
    rng = np.random.default_rng(5)
    nodes = random_nodes(rng, 12, 5, depth, cuts)
    trees = TreeEnsemble.of(nodes, 5, base=0.25, factor=0.5)
    assert trees.rank.dtype == kind
    rows = rng.normal(size=(203, 5)).astype(np.float32)
    # on thresholds, missing, and beyond all of them
    inner = np.flatnonzero(nodes.left >= 0)
    for i, node in enumerate(inner[:60]):
        rows[i, nodes.feature[node]] = nodes.threshold[node]
    rows[60:120, 2] = np.nan
    rows[120], rows[121] = np.inf, -np.inf
    np.testing.assert_allclose(trees.predict(rows), 0.25 + 0.5 * slow_sums(nodes, rows), atol=1e-6)
    again = TreeEnsemble.from_arrays(trees.arrays())
    np.testing.assert_array_equal(again.predict(rows), trees.predict(rows))


def test_leaves_are_told_tree_by_tree():
    nodes = random_nodes(np.random.default_rng(6), 4, 3, 4, 9)
    trees = TreeEnsemble.of(nodes, 3)
    rows = np.random.default_rng(7).normal(size=(50, 3)).astype(np.float32)
    leaves = trees.leaves(rows)
    assert leaves.shape == (4, 50)
    np.testing.assert_allclose(trees.value[leaves].sum(axis=0), trees.predict(rows), atol=1e-6)


def test_single_leaves_are_trees():
    one = Nodes(
        *(
            np.array([v], t)
            for v, t in ((0, int), (0, int), (0, "f4"), (-1, int), (-1, int), (0.3, float), (0, bool))
        )
    )
    trees = TreeEnsemble.of(one, 2)
    np.testing.assert_allclose(trees.predict(np.zeros((3, 2), np.float32)), 0.3, atol=1e-7)
    assert trees.predict(np.zeros((0, 2), np.float32)).shape == (0,)


def test_thresholds_of_double_precision_decide_alike_for_floats():
    doubles = np.array([0.1, -0.1, 1 / 3, 1e30, np.pi])
    for t, single in zip(doubles, at_most(doubles), strict=True):
        near = np.array(
            [np.nextafter(single, -np.inf), single, np.nextafter(single, np.float32(np.inf))], np.float32
        )
        np.testing.assert_array_equal(near.astype(float) <= t, near <= single)
    floats = doubles.astype(np.float32)
    np.testing.assert_array_equal(floats < floats, floats <= below(floats))


def test_arrays_that_are_no_trees_are_refused():
    trees = TreeEnsemble.of(random_nodes(np.random.default_rng(8), 3, 3, 4, 9), 3)
    for name, change in (
        ("offsets", lambda a: a + 1),
        ("slot", lambda a: a + 100),
        ("rank", lambda a: np.zeros_like(a)),
        ("value", lambda a: a[1:]),
        ("cut_offsets", lambda a: a[:-1]),
        ("n_features", lambda a: np.array(1)),
        ("slot", lambda a: np.where(trees.is_leaf, a + a.dtype.type(100), a)),
        ("rank", lambda a: a.astype(np.int32)),
        ("slot_feature", lambda a: a - 1),
        ("depths", lambda a: a + 1_000_000),
        ("slot_missing_low", lambda a: a[:0]),
        ("cut_offsets", lambda a: np.append(a[:-1][::-1], a[-1])),
    ):
        with pytest.raises(BadInput, match="no ensemble"):
            TreeEnsemble.from_arrays(trees.arrays() | {name: change(trees.arrays()[name])})
    with pytest.raises(BadInput, match="3 features"):
        trees.predict(np.zeros((2, 4), np.float32))


def sample(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One feature that tells the redshift to 0.05, and one that tells nothing."""
    z = rng.uniform(0.1, 1.4, n)
    return np.column_stack([z + rng.normal(0, 0.05, n), rng.normal(size=n)]).astype(np.float32), z


def stumps(rng: np.random.Generator, trees: int) -> TreeEnsemble:
    """Forests that cut the first feature into eight at random places."""
    parts = []
    for tree in range(trees):
        cuts = np.sort(rng.uniform(0.1, 1.4, 7)).astype(np.float32)
        threshold = np.zeros(15, np.float32)
        threshold[:7] = cuts[[3, 1, 5, 0, 2, 4, 6]]
        left = np.array([1, 3, 5, 7, 9, 11, 13] + [-1] * 8)
        value = np.append(np.zeros(7), np.linspace(0.1, 1.4, 8))
        parts.append(
            (np.full(15, tree), np.zeros(15, int), threshold, left, left + 1, value, np.zeros(15, bool))
        )
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return TreeEnsemble.of(Nodes(*columns), 2, factor=1 / trees)


def test_a_forests_density_is_that_of_its_leaves():
    rng = np.random.default_rng(9)
    features, z = sample(rng, 4000)
    forest = ForestLearner.learn(stumps(rng, 200), features, z)
    test, truth = sample(rng, 1000)
    density = forest.smoothed_for(test, truth, GRID).density(test, GRID)
    np.testing.assert_allclose(density.sum(axis=1) * GRID.step, 1, rtol=1e-5)
    mean = density @ GRID.z * GRID.step
    assert np.abs(mean - truth).mean() < 0.06
    # no worse than the density of all, by far; the best possible is a Gaussian of 0.05: -1 / (2 sqrt(pi) 0.05)
    assert -5.64 < density_scores(density, GRID, truth).cde.mean() < -3.0
    restored = ForestLearner.from_arrays(forest.arrays(), forest.params())
    np.testing.assert_array_equal(restored.density(test, GRID), forest.density(test, GRID))


def test_labels_of_leaves_are_quantiles_of_their_rows():
    rng = np.random.default_rng(10)
    trees = stumps(rng, 3)
    features, z = sample(rng, 500)
    labels, leaves = leaf_labels(trees, features, z), trees.leaves(features)
    leaf = leaves[1, 0]
    inside = np.sort(z[leaves[1] == leaf])
    expected = inside[((np.arange(4) + 0.5) / 4 * len(inside)).astype(int)]
    np.testing.assert_allclose(labels[leaf] * 2.5e-4, expected, atol=1.3e-4)


def test_a_boosted_density_is_what_predictions_turned_out_to_be():
    rng = np.random.default_rng(11)
    trees = stumps(rng, 400)
    features, z = sample(rng, 20_000)
    learner = GbtLearner.learn(trees, features, z)
    test, truth = sample(rng, 5000)
    density = learner.density(test, GRID)
    np.testing.assert_allclose(density.sum(axis=1) * GRID.step, 1, rtol=1e-5)
    cumulative = np.cumsum(density, axis=1) * GRID.step
    pit = np.array([np.interp(t, GRID.z + GRID.step / 2, c) for t, c in zip(truth, cumulative, strict=True)])
    assert np.abs(np.histogram(pit, 10, (0, 1))[0] / len(pit) - 0.1).max() < 0.03


def test_xgboosts_own_predictions_come_out():
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(12)
    features, z = sample(rng, 2000)
    features[::5, 0] = np.nan
    matrix = xgboost.DMatrix(features, label=z)
    booster = xgboost.train({"max_depth": 5, "nthread": 1, "max_bin": 64}, matrix, 20)
    trees = from_xgboost(booster.save_raw("json"))
    np.testing.assert_allclose(trees.predict(features), booster.predict(matrix), atol=2e-6)
    other = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(features, label=z > 0.5), 2
    )
    with pytest.raises(BadInput, match="binary:logistic"):
        from_xgboost(other.save_raw("json"))
    with pytest.raises(BadInput, match="no booster"):
        from_xgboost(json.dumps({"learner": {}}))
