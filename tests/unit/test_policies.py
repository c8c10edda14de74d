"""Networks, layouts and parameter vectors."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamaml.config import GAConfig, InnerConfig, PolicyConfig
from gamaml.inner.start_jax import start_jax
from gamaml.policies import categorical, compiled_mlp, gaussian, mlp
from gamaml.policies.flat import Layout, fan_in
from gamaml.policies.vector import ParameterVector, fan_in_initial, of_round

SHAPES = {"w0": (2, 3), "b0": (3,), "w1": (3, 1), "b1": (1,)}
WEIGHTS = 6 + 3 + 3 + 1


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def vector(gene: str = "layer", rounds: int = 1, stochastic: bool = True) -> ParameterVector:
    inner = InnerConfig(rounds=rounds, step_size=0.25, step_size_gene=gene)
    return ParameterVector.of(SHAPES, inner, PolicyConfig(std=0.5), stochastic=stochastic)


def test_shapes_of_an_mlp_alternate_weights_and_biases() -> None:
    assert mlp.shapes(2, 3, 1) == SHAPES
    assert list(mlp.shapes(2, 3, 1)) == ["w0", "b0", "w1", "b1"]


def test_layout_places_arrays_one_after_the_other() -> None:
    layout = Layout.of(SHAPES)
    assert layout.size == WEIGHTS
    assert layout.slices == {"w0": slice(0, 6), "b0": slice(6, 9), "w1": slice(9, 12), "b1": slice(12, 13)}


def test_unflatten_gives_the_same_entries_in_numpy_and_jax() -> None:
    flat = np.arange(WEIGHTS, dtype=np.float32)
    host, device = Layout.of(SHAPES).unflatten(flat), Layout.of(SHAPES).unflatten(jnp.asarray(flat))
    assert host["w0"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert host["w1"].tolist() == [[9], [10], [11]]
    for name in SHAPES:
        np.testing.assert_array_equal(host[name], device[name])
        assert device[name].dtype == jnp.float32


@given(st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5))
def test_flatten_is_the_inverse_of_unflatten(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout.of({f"array{i}": shape for i, shape in enumerate(shapes)})
    flat = np.arange(layout.size, dtype=np.float32)
    np.testing.assert_array_equal(layout.flatten(layout.unflatten(flat)), flat)


def test_flatten_refuses_an_array_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"w: expected shape \(2, 1\), got \(2,\)"):
        Layout.of({"w": (2, 1)}).flatten({"w": np.zeros(2, np.float32)})


@pytest.mark.parametrize(("shape", "number"), [((), 1), ((7,), 1), ((7, 2), 7), ((3, 3, 4, 8), 36)])
def test_fan_in_counts_all_dimensions_but_the_last(shape: tuple[int, ...], number: int) -> None:
    assert fan_in(shape) == number


def test_mlp_by_hand_with_relu() -> None:
    params = {
        "w0": np.array([[1.0, -1.0]], np.float32),
        "b0": np.array([0.5, 0.5], np.float32),
        "w1": np.array([[2.0], [3.0]], np.float32),
        "b1": np.array([1.0], np.float32),
    }
    x = np.array([[2.0], [-2.0]], np.float32)
    expected = [[2 * 2.5 + 1], [3 * 2.5 + 1]]  # one unit is open on each side
    forward = mlp.Forward((1, 2, 1), "relu")
    forward.load(params)
    assert [forward(row).tolist() for row in x] == expected
    assert mlp.apply(jax.tree.map(jnp.asarray, params), jnp.asarray(x)).tolist() == expected


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_host_and_jax_networks_agree_and_stay_in_float32(activation: str) -> None:
    layout = Layout.of(mlp.shapes(4, 8, 8, 2))
    generator = np.random.default_rng(0)
    params = layout.unflatten(generator.standard_normal(layout.size, np.float32))
    x = generator.standard_normal(4, np.float32)
    forward = mlp.Forward((4, 8, 8, 2), activation)
    forward.load(params)
    host = forward(x)
    device = mlp.apply(jax.tree.map(jnp.asarray, params), jnp.asarray(x), activation)
    assert host.dtype == np.float32 and device.dtype == jnp.float32
    np.testing.assert_allclose(host, device, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [(2, 6, 6, 2), (17, 9, 12), (3, 1)])
def test_quick_forms_of_the_network_agree_with_the_plain_one_and_so_do_their_gradients(
    sizes: tuple[int, ...], activation: str
) -> None:
    layout, generator = Layout.of(mlp.shapes(*sizes)), np.random.default_rng(0)
    params = jax.tree.map(jnp.asarray, layout.unflatten(generator.standard_normal(layout.size, np.float32)))
    x = jnp.asarray(generator.standard_normal((7, sizes[0]), np.float32))
    weight = jnp.asarray(generator.standard_normal((7, sizes[-1]), np.float32))
    forms = {
        "plain": lambda params, x: mlp.apply(params, x, activation),
        "one": jax.vmap(lambda params, x: compiled_mlp.one(params, x, activation), in_axes=(None, 0)),
        "columns": lambda params, x: compiled_mlp.columns(params, x.T, activation).T,
    }
    outputs = {name: form(params, x) for name, form in forms.items()}

    def second_order(form: Any, params: Any) -> jax.Array:
        gradient = jax.grad(lambda params: jnp.sum(form(params, x) ** 2 * weight))(params)
        return sum((jnp.sum(array**2) for array in gradient.values()), jnp.zeros((), jnp.float32))

    gradients = {
        name: jax.grad(lambda params, form=form: second_order(form, params))(params) for name, form in forms.items()
    }
    for name in ("one", "columns"):
        np.testing.assert_allclose(outputs[name], outputs["plain"], rtol=1e-4, atol=1e-5)
        for array, expected in gradients["plain"].items():
            np.testing.assert_allclose(gradients[name][array], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_relu_of_columns_has_no_slope_at_zero_and_below_and_keeps_the_smallest_numbers() -> None:
    params = {name: jnp.asarray(array, jnp.float32) for name, array in (("w0", [[1.0]]), ("w1", [[1.0]]))}
    params |= {"b0": jnp.zeros(1, jnp.float32), "b1": jnp.zeros(1, jnp.float32)}
    x = jnp.asarray([[-1.0, 0.0, 1e-30, 2.0]], jnp.float32)
    slopes = jax.grad(lambda x: compiled_mlp.columns(params, x).sum())(x)
    assert compiled_mlp.columns(params, x).tolist() == [[0.0, 0.0, float(x[0, 2]), 2.0]]
    assert slopes.tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_log_probs_of_columns_are_those_of_one_after_the_other() -> None:
    generator = np.random.default_rng(0)
    outputs = jnp.asarray(generator.standard_normal((3, 5), np.float32))
    continuous, std = jnp.asarray(generator.standard_normal((3, 5), np.float32)), jnp.asarray(0.5, jnp.float32)
    discrete = jnp.asarray([[0, 2, 1, 1, 0]], jnp.float32)
    for column in range(5):
        one = gaussian.log_prob(continuous[:, column], outputs[:, column], std)
        assert gaussian.log_prob(continuous, outputs, std)[column] == pytest.approx(float(one), rel=1e-6)
        one = categorical.log_prob(discrete[:, column], outputs[:, column])
        assert categorical.log_prob(discrete, outputs)[column] == pytest.approx(float(one), rel=1e-6)
        expected = jax.nn.log_softmax(outputs[:, column])[int(discrete[0, column])]
        assert float(one) == pytest.approx(float(expected), rel=1e-6)


def test_host_network_leaves_its_input_alone() -> None:
    x = np.array([-1.0, 2.0], np.float32)
    forward = mlp.Forward((2, 2), "relu")
    forward.load({"w0": np.eye(2, dtype=np.float32), "b0": np.ones(2, np.float32)})
    forward(x)
    assert x.tolist() == [-1.0, 2.0]


def test_log_prob_of_the_mean_is_that_of_the_normal_density_at_its_peak() -> None:
    mean = jnp.asarray([1.0, 2.0], jnp.float32)
    value = gaussian.log_prob(mean, mean, jnp.asarray(0.5, jnp.float32))
    assert float(value) == pytest.approx(2 * -math.log(0.5 * math.sqrt(2 * math.pi)), rel=1e-6)


def test_log_prob_falls_by_a_half_at_one_std() -> None:
    mean, std = jnp.zeros(1, jnp.float32), jnp.asarray(0.5, jnp.float32)
    peak = gaussian.log_prob(mean, mean, std)
    assert float(peak - gaussian.log_prob(mean + 0.5, mean, std)) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(("gene", "number"), [("none", 0), ("global", 1), ("layer", 4)])
def test_step_size_genes_follow_the_network(gene: str, number: int) -> None:
    assert vector(gene).num_step_sizes == number
    assert vector(gene).size == WEIGHTS + number + 1


def by_round(**changes: object) -> ParameterVector:
    """Return a vector of three rounds with genes of their own, but for `changes`."""
    inner = InnerConfig(
        rounds=3,
        step_size=0.25,
        step_size_gene="round",
        genes=("discount", "gae_lambda"),
        genes_per_round=True,
        learner="actor_critic",
        **changes,  # type: ignore[arg-type]
    )
    policy = PolicyConfig(std=0.5, std_gene="round")
    return ParameterVector.of(SHAPES, inner, policy, stochastic=True)


def test_each_round_may_have_genes_of_its_own() -> None:
    one = by_round()
    assert (one.num_step_sizes, one.step_rounds, one.num_stds, one.factor_rounds) == (4, 3, 4, 3)
    assert one.size == WEIGHTS + 3 * 4 + 4 + 3 * 2
    genes = np.arange(one.size - WEIGHTS, dtype=np.float32)
    learning = one.split(np.concatenate([np.zeros(WEIGHTS, np.float32), np.log(1 + genes)]))
    np.testing.assert_allclose(learning.step_sizes, 1 + np.arange(12).reshape(3, 4), rtol=1e-5)
    np.testing.assert_allclose(learning.std, [13, 14, 15, 16], rtol=1e-5)
    odds = 17.0 + np.arange(6).reshape(3, 2)
    np.testing.assert_allclose(learning.factors, odds / (1 + odds), rtol=1e-5)
    assert of_round(learning, 1).std == pytest.approx(14, rel=1e-5)
    np.testing.assert_allclose(of_round(learning, 2).step_sizes, [9, 10, 11, 12], rtol=1e-5)


def test_later_rounds_have_the_genes_of_the_last_one_with_its_own() -> None:
    few, many = by_round(), dataclasses.replace(by_round(), rounds=5)
    params = np.random.default_rng(1).standard_normal(few.size).astype(np.float32)
    trained, longer = few.split(params), many.split(params)
    assert longer.std.tolist() == [*trained.std.tolist(), *[trained.std[3].item()] * 2]
    assert longer.step_sizes[3:].tolist() == [trained.step_sizes[2].tolist()] * 2
    assert longer.factors[3:].tolist() == [trained.factors[2].tolist()] * 2
    shorter = dataclasses.replace(few, rounds=1).split(params)
    assert shorter.std.tolist() == trained.std[:2].tolist()
    assert shorter.step_sizes.tolist() == trained.step_sizes[:1].tolist()


def test_gene_rounds_say_how_many_rounds_have_their_own() -> None:
    one = by_round(gene_rounds=2)
    assert (one.rounds, one.step_rounds, one.num_stds, one.factor_rounds) == (3, 2, 3, 2)
    assert one.split(np.zeros(one.size, np.float32)).std.shape == (4,)


def test_evolved_numbers_and_arrays_name_the_round() -> None:
    one = by_round()
    inner = InnerConfig(rounds=3, genes=("discount", "gae_lambda"), learner="actor_critic")
    names = one.scalars(inner)
    assert names[:7] == ("step_size_1", "step_size_2", "step_size_3", "std_0", "std_1", "std_2", "std_3")
    assert names[7:] == tuple(f"{gene}_{index}" for gene in ("discount", "gae_lambda") for index in (1, 2, 3))
    params = np.random.default_rng(1).standard_normal(one.size).astype(np.float32)
    learning, (numbers,) = one.split(params), one.evolved(one.genes(params[None]))
    expected = [*learning.step_sizes.mean(axis=1), *learning.std, *learning.factors.T.ravel()]
    np.testing.assert_allclose(numbers, expected, rtol=1e-6)
    arrays = one.arrays(params, inner, stochastic=True)
    assert {name: arrays[name].shape for name in ("step_sizes", "std", "discount")} == {
        "step_sizes": (3, 4),
        "std": (4,),
        "discount": (3,),
    }


def test_the_last_collection_may_take_the_mean_action() -> None:
    policy = PolicyConfig(std=0.5, mean_at_end=True)
    one = ParameterVector.of(SHAPES, InnerConfig(rounds=2), policy, stochastic=True)
    params = one.initial(np.zeros(one.size, np.float32), one.fan_in_initialiser("relu"))
    assert one.split(params).std.tolist() == [0.5, 0.5, 0.0]
    assert one.arrays(params, InnerConfig(rounds=2), stochastic=True)["std"] == 0.5


def test_discrete_actions_have_temperatures_by_round_only() -> None:
    for gene, number in ((True, 0), ("round", 3)):
        policy = PolicyConfig(std=0.5, std_gene=gene)
        one = ParameterVector.of(SHAPES, InnerConfig(rounds=2), policy, stochastic=True, discrete=True)
        assert one.num_stds == number
        params = one.initial(np.zeros(one.size, np.float32), one.fan_in_initialiser("relu"))
        assert set(one.split(params).std.tolist()) == {1.0}
        assert ("temperature" in one.arrays(params, InnerConfig(rounds=2), stochastic=True)) == (gene == "round")


def test_without_rounds_there_is_no_step_size_gene() -> None:
    assert vector("layer", rounds=0).num_step_sizes == 0


def test_without_random_actions_there_is_no_std_gene() -> None:
    assert vector(stochastic=False).num_stds == 0


def test_genes_start_at_the_config_whatever_the_noise() -> None:
    params = vector().initial(np.full(WEIGHTS + 5, 3.0, np.float32), vector().fan_in_initialiser("relu"))
    assert params.dtype == np.float32
    assert params[WEIGHTS:].tolist() == [np.float32(math.log(0.25))] * 4 + [np.float32(math.log(0.5))]


def test_split_gives_one_step_size_per_array_and_the_std() -> None:
    params = np.zeros(WEIGHTS + 2, np.float32)
    params[-2:] = np.log([0.1, 0.2])
    learning = vector("global").split(params)
    np.testing.assert_allclose(learning.step_sizes, [[0.1] * 4], rtol=1e-6)
    assert learning.std.tolist() == pytest.approx([0.2])
    assert learning.network.shape == (WEIGHTS,)
    assert learning.step_sizes.dtype == np.float32 and np.asarray(learning.std).dtype == np.float32


def test_split_without_genes_gives_the_config_exactly() -> None:
    plain = ParameterVector(Layout.of(SHAPES), step_size=0.25, std=0.5)
    learning = plain.split(np.zeros(WEIGHTS, np.float32))
    assert (learning.step_sizes.tolist(), learning.std.tolist()) == ([[0.25] * 4], [0.5])


@pytest.mark.parametrize("gene", ["none", "global", "layer", "round", "parameter"])
@pytest.mark.parametrize("stochastic", [False, True])
def test_split_of_many_vectors_has_the_bits_of_each_alone(gene: str, stochastic: bool) -> None:
    one = vector(gene, stochastic=stochastic)
    rows = np.random.default_rng(0).standard_normal((37, one.size), np.float32)
    for together, alone in zip(one.split(rows), zip(*(one.split(row) for row in rows), strict=True), strict=True):
        assert together.dtype == np.float32
        np.testing.assert_array_equal(together, np.array(alone))


def test_initial_weights_have_he_variance_and_biases_are_zero() -> None:
    noise = {
        "w0": np.ones((8, 2), np.float32),
        "b0": np.ones(2, np.float32),
        "w1": np.ones((2, 1), np.float32),
    }
    arrays = fan_in_initial(noise, "relu", output_scale=0.5)
    assert arrays["w0"].ravel().tolist() == [0.5] * 16  # sqrt(2 / 8)
    assert arrays["b0"].tolist() == [0.0, 0.0]
    assert arrays["w1"].ravel().tolist() == [0.5, 0.5]  # sqrt(2 / 2) * 0.5
    assert fan_in_initial(noise, "tanh")["w0"][0, 0] == np.float32(math.sqrt(1 / 8))


def test_the_flat_initialiser_has_the_bits_of_the_named_one() -> None:
    noise = np.random.default_rng(0).standard_normal(WEIGHTS, np.float32)
    one = vector()
    named = one.named_initialiser(lambda arrays: fan_in_initial(arrays, "tanh", output_scale=0.3))
    assert one.fan_in_initialiser("tanh", output_scale=0.3)(noise).tobytes() == named(noise).tobytes()


def test_scale_is_none_when_nothing_is_scaled() -> None:
    assert vector().scale(GAConfig(gene_scale=1.0)) is None
    assert vector("none", stochastic=False).scale(GAConfig()) is None


def test_fan_in_scale_divides_only_wide_weight_matrices() -> None:
    wide = ParameterVector(Layout.of(mlp.shapes(10, 40, 1)), num_stds=1)
    scale = wide.scale(GAConfig(mutation_scale="fan_in", gene_scale=3.0))
    assert scale is not None
    arrays = wide.network.unflatten(scale)
    assert np.all(arrays["w0"] == 1) and np.all(arrays["b0"] == 1) and np.all(arrays["b1"] == 1)
    assert np.all(arrays["w1"] == 0.5)  # 1 / sqrt(40 / 10)
    assert scale[-1] == 3.0
