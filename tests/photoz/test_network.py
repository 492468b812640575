import numpy as np
import pytest
from scipy.special import logsumexp

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz import pdf
from astrolake.photoz.features import FeatureSpec
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.mixture import add_densities, loss_and_gradient
from astrolake.photoz.network import MixtureNetwork, forward
from astrolake.photoz.photometry import BandColumns
from astrolake.photoz.train_network import NetworkSettings, _flat_layers, _loss_gradients, train_network

GRID = RedshiftGrid()
SMALL = NetworkSettings(hidden=(24, 24), components=3, epochs=12, batch=64)


def exact_ln_density(output, target):
    k = output.shape[1] // 3
    logits, mean, ln_sigma = (output[:, part * k : (part + 1) * k].astype(np.float64) for part in range(3))
    terms = logits - logsumexp(logits, axis=1, keepdims=True) - ln_sigma - 0.5 * np.log(2 * np.pi)
    terms -= 0.5 * ((target[:, None] - mean) * np.exp(-ln_sigma)) ** 2
    return logsumexp(terms, axis=1)


def exact_loss(output, target, weight):
    return -(weight * exact_ln_density(output, target)).sum()


def random_output(rng, n=40, k=4):
    return rng.normal(
        [0.0] * k + [0.5] * k + [-2.0] * k, [1.0] * k + [0.2] * k + [0.6] * k, (n, 3 * k)
    ).astype("f4")


def test_loss_is_that_of_the_mixture_and_its_gradient_that_of_differences():
    rng = np.random.default_rng(3)
    output, weight = random_output(rng), rng.uniform(0.5, 2, 40).astype("f4")
    target = rng.uniform(0, 1, 40).astype("f4")
    gradient = np.empty_like(output)
    assert loss_and_gradient(output, target, weight, gradient) == pytest.approx(
        exact_loss(output, target, weight), rel=1e-5
    )
    for column in range(output.shape[1]):
        high, low = output.astype(np.float64), output.astype(np.float64)
        high[:, column] += 1e-5
        low[:, column] -= 1e-5
        numeric = [
            (
                exact_loss(high[row : row + 1], target[row : row + 1], weight[row])
                - exact_loss(low[row : row + 1], target[row : row + 1], weight[row])
            )
            / 2e-5
            for row in range(8)
        ]
        assert gradient[:8, column] == pytest.approx(numeric, rel=2e-3, abs=2e-4)


def test_backpropagation_agrees_with_differences():
    rng = np.random.default_rng(4)
    features, target = rng.normal(size=(32, 5)).astype("f4"), rng.uniform(0, 1, 32).astype("f4")
    ones = np.ones(32, dtype="f4")
    values, layers = _flat_layers((5, 7, 6, 9))
    slopes, gradients = _flat_layers((5, 7, 6, 9))
    values[:] = rng.normal(0, 0.3, len(values))
    values[-3:] = -1.0
    loss = _loss_gradients(layers, gradients, features, target, ones)
    assert loss == pytest.approx(exact_loss(forward(layers, features), target, ones / 32), rel=1e-4)
    direction = rng.normal(size=(6, len(values))).astype("f4")
    start = values.copy()
    for line in direction:
        ends = []
        for step in (3e-3, -3e-3):
            values[:] = start + step * line
            ends.append(exact_loss(forward(layers, features), target, ones / 32))
        assert (ends[0] - ends[1]) / 6e-3 == pytest.approx(float(slopes @ line), rel=0.02, abs=2e-3)


def test_densities_are_those_of_the_mixture_and_integrate_to_one():
    output = random_output(np.random.default_rng(5), 30)
    found = np.zeros((30, GRID.n), dtype=np.float32)
    add_densities(output, GRID, found)
    assert found.sum(axis=1) * GRID.step == pytest.approx(np.ones(30), rel=1e-5)
    for row in range(30):
        same = np.repeat(output[row : row + 1], GRID.n, axis=0)
        exact = np.exp(exact_ln_density(same, np.log1p(GRID.z))) / (1 + GRID.z)
        exact /= exact.sum() * GRID.step
        assert found[row] == pytest.approx(exact, rel=0.03, abs=0.01 * exact.max())


def test_mixtures_beyond_the_grid_or_narrower_than_its_step():
    output = np.array([[0.0, 3.0, -3.0], [0.0, -1.0, -4.0], [0.0, np.log(1.507), -9.0]], dtype=np.float32)
    found = np.zeros((3, GRID.n), dtype=np.float32)
    add_densities(output, GRID, found)
    assert found.sum(axis=1) * GRID.step == pytest.approx([1, 1, 1])
    assert found[:2].argmax(axis=1).tolist() == [300, 0]
    assert pdf.summarise(found, GRID)["z_mean"][2] == pytest.approx(0.507, abs=2e-3)


def sample(n, seed=0):
    """Galaxies whose magnitude and colour tell the redshift but for noise."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 1.5, n)
    mags = np.column_stack([21 + z + np.sin(2 * z), 20 + z, 19.5 + 0.8 * z]) + rng.normal(0, 0.03, (n, 3))
    columns = {f"mag_{b}": mags[:, k] for k, b in enumerate("gri")} | {
        f"err_{b}": np.full(n, 0.03) for b in "gri"
    }
    return columns, z


BANDS = tuple(BandColumns(b, f"mag_{b}", f"err_{b}") for b in "gri")


def test_a_network_learns_and_the_same_seed_gives_the_same_network():
    columns, z = sample(1500)
    spec = FeatureSpec.fit(columns, BANDS)
    inputs = spec.read(columns)
    networks = [train_network(spec, inputs, z, SMALL) for _ in range(2)]
    other_columns, truth = sample(500, seed=1)
    features = spec.transform(spec.read(other_columns))
    density = networks[0].density(features, GRID)
    assert np.array_equal(density, networks[1].density(features, GRID))
    error = (pdf.summarise(density, GRID)["z_phot"] - truth) / (1 + truth)
    assert 1.4826 * np.median(np.abs(error)) < 0.03
    one_by_one = np.concatenate([networks[0].density(row[None], GRID) for row in features[:20]])
    assert one_by_one == pytest.approx(density[:20], rel=1e-3, abs=1e-3)


def test_the_epoch_that_is_best_on_rows_held_back_is_kept():
    columns, z = sample(600)
    spec = FeatureSpec.fit(columns, BANDS)
    inputs = spec.read(columns)
    nonsense = np.random.default_rng(0).permutation(z[400:])
    network = train_network(spec, inputs[:400], z[:400], SMALL, held=(inputs[400:], nonsense))
    assert 1 <= network.epochs < SMALL.epochs
    assert (
        train_network(spec, inputs[:400], z[:400], SMALL, held=(inputs[400:], z[400:])).epochs
        > network.epochs
    )


def test_members_are_averaged_and_weights_move_the_network():
    columns, z = sample(600)
    spec = FeatureSpec.fit(columns, BANDS)
    inputs = spec.read(columns)
    features = spec.transform(inputs[:50])
    both = train_network(spec, inputs, z, NetworkSettings(hidden=(8,), components=2, epochs=2, members=2))
    apart = [MixtureNetwork([layers]).density(features, GRID) for layers in both.members]
    assert both.density(features, GRID) == pytest.approx((apart[0] + apart[1]) / 2, abs=1e-5)


def test_rows_of_more_weight_draw_the_network():
    columns, z = sample(600)
    blind = {name: np.full(600, values.mean()) for name, values in columns.items()}
    spec = FeatureSpec.fit(blind, BANDS)
    inputs = spec.read(blind)
    weight = np.where(z < 0.5, 5.0, 0.1)
    network = train_network(spec, inputs, z, SMALL, weight=weight)
    found = pdf.summarise(network.density(spec.transform(inputs[:1]), GRID), GRID)
    assert found["z_mean"] == pytest.approx([np.average(z, weights=weight)], abs=0.08)


def test_redshifts_that_are_none_and_settings_that_make_no_network():
    columns, z = sample(200)
    spec = FeatureSpec.fit(columns, BANDS)
    with pytest.raises(BadInput, match="finite and above -0.1"):
        train_network(spec, spec.read(columns), np.where(z > 1, np.nan, z), SMALL)
    with pytest.raises(BadInput, match="200 training rows"):
        train_network(spec, spec.read(columns), z[:-1], SMALL)
    with pytest.raises(BadArguments, match="at least 1"):
        NetworkSettings(hidden=())
    with pytest.raises(ValueError, match="do not fit together"):
        MixtureNetwork(
            [[(np.ones((3, 4), "f4"), np.ones(4, "f4")), (np.ones((5, 6), "f4"), np.ones(6, "f4"))]]
        )
