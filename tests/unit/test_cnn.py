"""The convolutional networks: sizes, initial weights, and NumPy against JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamaml.inner.start_jax import start_jax
from gamaml.policies import cnn
from gamaml.policies.flat import Layout
from gamaml.types import Float32Array

ACTIONS = 18


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def noise(network: str, seed: int = 0) -> dict[str, Float32Array]:
    layout = Layout.of(cnn.shapes(network, ACTIONS))
    return layout.unflatten(np.random.default_rng(seed).standard_normal(layout.size, np.float32))


def child(network: str, seed: int = 0) -> dict[str, Float32Array]:
    """Return parameters with biases that are not zero."""
    start, mutation = cnn.initial(network, noise(network, seed)), noise(network, seed + 1)
    return {name: np.add(array, 0.01 * mutation[name], dtype=np.float32) for name, array in start.items()}


def observations(number: int, seed: int = 0) -> Any:  # uint8[number, 4, 84, 84]
    return np.random.default_rng(seed).integers(0, 256, (number, *cnn.OBSERVATION_SHAPE), dtype=np.uint8)


@pytest.mark.parametrize(("network", "size"), [("nature", 1_693_362), ("ga-dist", 4_052_658)])
def test_networks_have_the_published_number_of_parameters(network: str, size: int) -> None:
    assert Layout.of(cnn.shapes(network, 18)).size == size


def test_layers_of_the_nature_network_are_those_of_the_paper() -> None:
    sizes = [shape for name, shape in cnn.shapes("nature", 4).items() if name.startswith("w")]
    assert sizes == [(4 * 8 * 8, 32), (32 * 4 * 4, 64), (64 * 3 * 3, 64), (64 * 7 * 7, 512), (512, 4)]


def test_initial_nature_weights_scale_with_their_inputs_and_biases_are_zero() -> None:
    ones = {name: np.ones(shape, np.float32) for name, shape in cnn.shapes("nature", ACTIONS).items()}
    arrays = cnn.initial("nature", ones)
    assert np.all(arrays["w0"] == np.float32(1 / 16))  # sqrt(256)
    assert np.all(arrays["w3"] == np.float32(1 / 56))  # sqrt(3136)
    assert np.all(arrays["w4"] == np.float32(0.1 / np.sqrt(512)))
    assert not any(np.any(arrays[f"b{layer}"]) for layer in range(5))
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_initial_ga_dist_weights_have_unit_norm_per_unit_and_biases_are_zero() -> None:
    arrays = cnn.initial("ga-dist", noise("ga-dist"))
    for layer in range(5):
        np.testing.assert_allclose(np.linalg.norm(arrays[f"w{layer}"], axis=0), 1, rtol=1e-5)
        assert not np.any(arrays[f"b{layer}"])
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("network", cnn.NETWORKS)
def test_host_and_jax_networks_agree_and_stay_in_float32(network: str) -> None:
    params, batch, host = child(network), observations(3), cnn.HostNetwork(network)
    found = np.stack([host(params, observation) for observation in batch])
    device = cnn.apply(network, jax.tree.map(jnp.asarray, params), jnp.asarray(batch))
    assert found.dtype == np.float32 and device.dtype == jnp.float32 and found.shape == (3, ACTIONS)
    np.testing.assert_allclose(found, device, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", cnn.NETWORKS)
def test_the_jax_network_takes_any_leading_dimensions_and_has_gradients(network: str) -> None:
    params, batch = jax.tree.map(jnp.asarray, child(network)), jnp.asarray(observations(2))
    single = cnn.apply(network, params, batch[1])
    assert single.shape == (ACTIONS,)
    np.testing.assert_allclose(single, cnn.apply(network, params, batch[None])[0, 1], rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda arrays: jnp.sum(cnn.apply(network, arrays, batch)))(params)
    assert all(bool(jnp.any(array != 0)) for array in gradient.values())


def test_the_first_layer_reads_frame_row_and_column_in_this_order() -> None:
    params = {name: np.zeros(shape, np.float32) for name, shape in cnn.shapes("nature", 1).items()}
    params["w0"].reshape(4, 8, 8, 32)[2, 5, 1, 7] = 255  # unit 7 looks at one pixel of the third frame
    params["w1"].reshape(4, 4, 32, 64)[0, 0, 7, 9] = 1
    params["w2"].reshape(3, 3, 64, 64)[2, 1, 9, 3] = 1
    params["w3"].reshape(7, 7, 64, 512)[6, 4, 3, 0] = 1
    params["w4"][0, 0] = 1
    observation = np.zeros(cnn.OBSERVATION_SHAPE, np.uint8)
    observation[2, 4 * 2 * 8 + 5, 4 * 2 * 5 + 1] = 77
    assert cnn.HostNetwork("nature")(params, observation)[0] == pytest.approx(77)
    assert float(cnn.apply("nature", jax.tree.map(jnp.asarray, params), jnp.asarray(observation))[0]) == pytest.approx(
        77
    )


@pytest.mark.parametrize("network", cnn.NETWORKS)
def test_a_call_has_the_same_bits_whatever_was_called_before(network: str) -> None:
    first, second, batch = child(network), child(network, 10), observations(2)
    host = cnn.HostNetwork(network)
    alone = host(first, batch[0])
    host(second, batch[1])
    assert host(first, batch[0]).tobytes() == alone.tobytes() == cnn.HostNetwork(network)(first, batch[0]).tobytes()


@pytest.mark.parametrize("network", cnn.NETWORKS)
def test_a_call_has_the_same_bits_wherever_the_parameters_lie_in_memory(network: str) -> None:
    layout, observation = Layout.of(cnn.shapes(network, ACTIONS)), observations(1)[0]
    flat, host, found = layout.flatten(child(network)), cnn.HostNetwork(network), set[bytes]()
    for offset in range(0, 17, 4):
        memory = np.empty(layout.size + offset, np.float32)
        memory[offset:] = flat
        found.add(host(layout.unflatten(memory[offset:]), observation).tobytes())
    assert len(found) == 1


def test_a_call_leaves_observation_and_parameters_alone_and_gives_a_new_array() -> None:
    params, batch, host = child("nature"), observations(2), cnn.HostNetwork("nature")
    copies = {name: array.copy() for name, array in params.items()}, batch.copy()
    first = host(params, batch[0])
    kept = first.copy()
    host(params, batch[1])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(batch, copies[1])
    assert all(np.array_equal(params[name], copies[0][name]) for name in params)
