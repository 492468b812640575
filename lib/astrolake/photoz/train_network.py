"""Training of the mixture density network: AdamW, one cycle of the learning rate, noise and lost bands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.compiled import compiled_fast
from astrolake.photoz.features import FeatureSpec, Inputs
from astrolake.photoz.mixture import loss_and_gradient
from astrolake.photoz.network import MixtureNetwork, forward, silu_and_slope

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Layers = list[tuple[Float32, Float32]]

#: Rows whose features are made at a time: bounds memory, whatever the size of the training table.
_CHUNK = 65_536
#: AdamW (Loshchilov & Hutter 2019): the first exponent falls while the rate rises, and the other way round.
_BETA1_HIGH, _BETA1_LOW, _BETA2, _EPSILON = 0.95, 0.85, 0.999, 1e-8
#: Gradients longer than this are shortened to it: one odd batch must not undo what was learned.
_LARGEST_SLOPE = 5.0
#: Part of the steps in which the rate rises.
_WARM_UP = 0.3


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is built and trained.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    components : int
        Gaussians in ln(1 + z).
    members : int
        Networks, from different seeds, whose densities are averaged.
    epochs, most_rows : int
        Times that each training row is seen; at most so many rows in all, so that big tables end in time.
    batch : int
        Rows for a step; doubled up to 1024 for tables of more than 50,000 rows.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises over 30 % of the steps and falls to nothing (Smith & Topin 2019).
    noise, jitter, drop : float
        Noise added in units of the flux errors; noise on standardised features; largest share of rows that
        lose bands, which rises and falls with the rate: at the end the network is refined on what is there.
    seed : int
        Of everything random; the same seed gives the same network.
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    components: int = 8
    members: int = 2
    epochs: int = 60
    most_rows: int = 6_000_000
    batch: int = 128
    learning_rate: float = 8e-3
    weight_decay: float = 1e-4
    noise: float = 0.0
    jitter: float = 0.02
    drop: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (*self.hidden, self.components, self.members, self.epochs, self.batch, self.most_rows)
        if not self.hidden or min(counts) < 1:
            raise BadArguments(f"{self}: widths, components, members, epochs, rows are at least 1")
        if (
            self.learning_rate <= 0
            or min(self.weight_decay, self.noise, self.jitter) < 0
            or not 0 <= self.drop < 1
        ):
            raise BadArguments(f"{self}: rates are positive, noise is not negative, drop is in [0, 1)")


def train_network(
    spec: FeatureSpec,
    inputs: Inputs,
    z: Float64,
    settings: NetworkSettings | None = None,
    weight: Float64 | None = None,
    held: tuple[Inputs, Float64] | None = None,
) -> MixtureNetwork:
    """Return a network trained on spectroscopic redshifts.

    Parameters
    ----------
    spec : FeatureSpec
        Features, fitted on the training set.
    inputs : Inputs
        n training rows.
    z : (n,) float64
        Their redshifts.
    settings : NetworkSettings, optional
    weight : (n,) float64, optional
        Weights of the rows, such as `neighbour_weights`.
    held : (Inputs, (m,) float64), optional
        Rows held back, with their redshifts: the network is that of the epoch with the least loss on them.

    Raises
    ------
    BadInput
        For redshifts that are none, or numbers of rows that differ.
    """
    chosen = settings or NetworkSettings()
    target = _target(inputs, z)
    weights = np.ones(len(target)) if weight is None else np.asarray(weight) / np.mean(weight)
    check = None if held is None else (spec.transform(held[0]), _target(*held))
    members = [
        _train_member(spec, inputs, target, weights.astype(np.float32), chosen, chosen.seed + member, check)
        for member in range(chosen.members)
    ]
    return MixtureNetwork(
        [layers for layers, _ in members], int(np.median([epochs for _, epochs in members]))
    )


def _target(inputs: Inputs, z: Float64) -> Float32:
    """Return ln(1 + z) of the training set."""
    redshift = np.asarray(z, dtype=np.float64)
    if redshift.shape != (len(inputs),):
        raise BadInput(f"{len(inputs)} training rows and redshifts of the shape {redshift.shape}")
    if not (np.isfinite(redshift) & (redshift > -0.1)).all():
        raise BadInput("training redshifts must be finite and above -0.1; leave out the other rows")
    result: Float32 = np.log1p(redshift).astype(np.float32)
    return result


def _train_member(
    spec: FeatureSpec,
    inputs: Inputs,
    target: Float32,
    weight: Float32,
    settings: NetworkSettings,
    seed: int,
    held: tuple[Float32, Float32] | None,
) -> tuple[Layers, int]:
    """Return the layers of one network, and the epochs it was trained for."""
    rng = np.random.default_rng(seed)
    batch = settings.batch
    while len(inputs) > 400 * batch and batch < 1024:
        batch *= 2
    batch = min(batch, len(inputs))
    epochs = max(1, min(settings.epochs, settings.most_rows // len(inputs)))
    widths = (len(spec.names), *settings.hidden, 3 * settings.components)
    values, layers = _flat_layers(widths)
    slopes, gradients = _flat_layers(widths)
    _initialise(layers, target, rng)
    first, second = np.zeros_like(values), np.zeros_like(values)
    steps = epochs * (len(inputs) // batch)
    step, past, least, best, kept = 0, 1.0, np.inf, epochs, values
    for epoch in range(1, epochs + 1):
        drop = settings.drop * _one_cycle((epoch - 0.5) / epochs)
        for features, rows in _batches(spec, inputs, batch, replace(settings, drop=drop), rng):
            step += 1
            _loss_gradients(layers, gradients, features, target[rows], weight[rows])
            norm = math.sqrt(float(slopes @ slopes))
            if norm > _LARGEST_SLOPE:
                slopes *= np.float32(_LARGEST_SLOPE / norm)
            cycle = _one_cycle(step / steps)
            rate = settings.learning_rate * cycle
            beta = _BETA1_HIGH + (_BETA1_LOW - _BETA1_HIGH) * cycle
            past *= beta
            correction = math.sqrt(1 - _BETA2**step) / (1 - past)
            numbers = (beta, rate * correction, 1 - rate * settings.weight_decay)
            _adamw(values, slopes, first, second, *(np.float32(number) for number in numbers))
        if held is not None and (loss := _mean_loss(layers, *held)) < least:
            least, best, kept = loss, epoch, values.copy()
    values[:] = kept
    if not np.isfinite(values).all():
        raise BadInput(f"training did not converge: lower the learning rate ({settings.learning_rate})")
    return layers, best


def _batches(
    spec: FeatureSpec, inputs: Inputs, batch: int, settings: NetworkSettings, rng: np.random.Generator
) -> Iterator[tuple[Float32, NDArray[np.int64]]]:
    """Yield features and rows of the batches of an epoch, perturbed; less than a batch is left out."""
    order = rng.permutation(len(inputs))
    size = max(_CHUNK // batch, 1) * batch
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        features = spec.transform(inputs[rows].perturbed(rng, settings.noise, settings.drop))
        if settings.jitter > 0:
            features += np.float32(settings.jitter) * rng.standard_normal(features.shape, dtype=np.float32)
        for at in range(0, len(rows) - batch + 1, batch):
            yield features[at : at + batch], rows[at : at + batch]


def _loss_gradients(
    layers: Layers, gradients: Layers, features: Float32, target: Float32, weight: Float32
) -> float:
    """Return the mean loss of a batch, and write its gradients by weights and biases (backpropagation)."""
    values, slopes = [features], []
    for weights, bias in layers[:-1]:
        x = values[-1] @ weights
        slope = np.empty_like(x)
        silu_and_slope(x, bias, slope)
        values.append(x)
        slopes.append(slope)
    output = values[-1] @ layers[-1][0] + layers[-1][1]
    delta = np.empty_like(output)
    loss = loss_and_gradient(output, target, weight / np.float32(len(target)), delta)
    for k in range(len(layers) - 1, -1, -1):
        np.matmul(values[k].T, delta, out=gradients[k][0])
        np.sum(delta, axis=0, out=gradients[k][1])
        if k:
            delta = delta @ layers[k][0].T
            delta *= slopes[k - 1]
    return loss


def _mean_loss(layers: Layers, features: Float32, target: Float32) -> float:
    output = forward(layers, features)
    ones = np.ones(len(target), dtype=np.float32)
    return float(loss_and_gradient(output, target, ones, np.empty_like(output))) / len(target)


def _flat_layers(widths: tuple[int, ...]) -> tuple[Float32, Layers]:
    """Return zeros for all weights and biases, and views of them by layer."""
    sizes = [(n_in * n_out, n_out, n_in) for n_in, n_out in pairwise(widths)]
    flat = np.zeros(sum(weights + bias for weights, bias, _ in sizes), dtype=np.float32)
    layers, at = [], 0
    for size, n_out, n_in in sizes:
        layers.append((flat[at : at + size].reshape(n_in, n_out), flat[at + size : at + size + n_out]))
        at += size + n_out
    return flat, layers


def _initialise(layers: Layers, target: Float32, rng: np.random.Generator) -> None:
    """Draw weights; means of the components start at quantiles of the training redshifts."""
    for weights, bias in layers:
        bound = len(weights) ** -0.5
        weights[:] = rng.uniform(-bound, bound, weights.shape)
        bias[:] = rng.uniform(-bound, bound, bias.shape)
    bias = layers[-1][1]
    k = len(bias) // 3
    bias[:k] = 0.0
    bias[k : 2 * k] = np.quantile(target, (np.arange(k) + 0.5) / k)
    bias[2 * k :] = -2.0


def _one_cycle(progress: float) -> float:
    """Return the learning rate over its maximum, from 1/25 up and down again to 0 along cosines."""
    if progress < _WARM_UP:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * progress / _WARM_UP)) / 2
    return (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))) / 2


@compiled_fast
def _adamw(
    values: Float32,
    slopes: Float32,
    first: Float32,
    second: Float32,
    keep1: np.float32,
    rate: np.float32,
    decay: np.float32,
) -> None:
    keep2, least = np.float32(_BETA2), np.float32(_EPSILON)
    add1, add2 = np.float32(1) - keep1, np.float32(1) - keep2
    for k in range(values.size):
        slope = slopes[k]
        first[k] = keep1 * first[k] + add1 * slope
        second[k] = keep2 * second[k] + add2 * slope * slope
        values[k] = decay * values[k] - rate * first[k] / (np.sqrt(second[k]) + least)
