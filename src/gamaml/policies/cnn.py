"""The convolutional networks of deep GAs on Atari, for JAX and for the host.

"nature" is the network of Mnih et al. 2015 as Such et al. 2017 evolved it (arXiv 1712.06567; `LargeModel` in their
published code): relu after each layer, no padding. "ga-dist" is the network of gamaml's ancestor: SAME padding, no
activation after the convolutions. Both read four grey frames of 84 x 84 and end with 512 units and one output per
action.

A layer's weights are the matrix [inputs, units] that multiplies a row of inputs. The inputs are in the order in which
the host reads them, so that a child's parameters are used without a copy: (frame, row, column) of a patch in the
first convolution, (row, column, channel) in the others and in the first dense layer.

JAX is imported inside `apply`, because evolving host environments without inner updates must not need it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gamaml.config import CONVOLUTIONAL
from gamaml.policies.flat import fan_in
from gamaml.types import Float32Array

if TYPE_CHECKING:
    import jax

NETWORKS = CONVOLUTIONAL
OBSERVATION_SHAPE = (4, 84, 84)
"""Frames, oldest first; rows; columns."""

_FRAMES, _SIZE = OBSERVATION_SHAPE[:2]
_CONVOLUTIONS = ((8, 4, 32), (4, 2, 64), (3, 1, 64))
"""Kernel size, stride and channels; Mnih et al. 2015, Methods, "Model architecture"."""

_HIDDEN = 512
_PIXEL_SCALE = np.float32(1 / 255)
_ZERO = np.float32(0)


class _Layer(NamedTuple):
    """The geometry of a convolution's patches.

    Attributes:
        kernel: rows and columns of a patch.
        stride: pixels from patch to patch.
        inputs: channels read.
        outputs: channels written.
        before: rows of zeros above, and columns of zeros on the left.
        padded: rows and columns of the input with its zeros.
        size: rows and columns of the output.
    """

    kernel: int
    stride: int
    inputs: int
    outputs: int
    before: int
    padded: int
    size: int


def _layers(network: str) -> list[_Layer]:
    layers: list[_Layer] = []
    size, inputs = _SIZE, _FRAMES
    for kernel, stride, outputs in _CONVOLUTIONS:
        # SAME as in TensorFlow and XLA: one output per stride; an odd number of zeros puts one more at the end.
        output = -(-size // stride) if network == "ga-dist" else (size - kernel) // stride + 1
        zeros = (output - 1) * stride + kernel - size if network == "ga-dist" else 0
        layers.append(_Layer(kernel, stride, inputs, outputs, zeros // 2, size + zeros, output))
        size, inputs = output, outputs
    return layers


def shapes(network: str, num_actions: int) -> dict[str, tuple[int, ...]]:
    """Return the arrays of a network: w0, b0, ... w4, b4; three convolutions and two dense layers.

    Args:
        network: one of `NETWORKS`.
        num_actions: outputs.

    Example:
        >>> shapes("nature", 18)["w3"]
        (3136, 512)
    """
    layers = _layers(network)
    sizes = [(layer.kernel**2 * layer.inputs, layer.outputs) for layer in layers]
    sizes += [(layers[-1].size ** 2 * layers[-1].outputs, _HIDDEN), (_HIDDEN, num_actions)]
    arrays: dict[str, tuple[int, ...]] = {}
    for index, (num_inputs, num_units) in enumerate(sizes):
        arrays[f"w{index}"] = (num_inputs, num_units)
        arrays[f"b{index}"] = (num_units,)
    return arrays


def initial(network: str, noise: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """Return initial arrays: scaled noise as weights, zero biases.

    "nature": weights of variance 1 / fan_in; the output weights have a tenth of that standard deviation.
    "ga-dist": the weights of each unit divided by their norm.

    Args:
        network: one of `NETWORKS`.
        noise: standard normal arrays, named as by `shapes`.

    Source: the published code of Such et al. 2017 (uber-research/deep-neuroevolution, gpu_implementation, `dqn.Model`),
    and the code of ga-dist (`Policy.init_from_noise_idxs`).
    """
    arrays: dict[str, Float32Array] = {}
    last = f"w{len(noise) // 2 - 1}"
    for name, array in noise.items():
        if array.ndim == 1:
            arrays[name] = np.zeros_like(array)
        elif network == "ga-dist":
            arrays[name] = array / np.sqrt(np.sum(np.square(array), axis=0))
        else:
            arrays[name] = array * np.float32((0.1 if name == last else 1.0) / math.sqrt(fan_in(array.shape)))
    return arrays


def apply(network: str, params: Mapping[str, jax.Array], observation: jax.Array) -> jax.Array:
    """Return the network's outputs, in JAX.

    Args:
        network: one of `NETWORKS`.
        params: arrays named as by `shapes`, float32.
        observation: [..., 4, 84, 84], pixels from 0 to 255; any number of leading dimensions.

    Returns:
        float32[..., num_actions].
    """
    import jax
    import jax.numpy as jnp

    def linear(x: jax.Array, index: int) -> jax.Array:
        x = x @ params[f"w{index}"]
        return x + jnp.broadcast_to(params[f"b{index}"], x.shape)

    leading = observation.shape[:-3]
    x = observation.reshape(-1, *OBSERVATION_SHAPE).transpose(0, 2, 3, 1).astype(jnp.float32) * _PIXEL_SCALE
    padding = "SAME" if network == "ga-dist" else "VALID"
    for index, layer in enumerate(_layers(network)):
        window = (layer.kernel, layer.kernel)
        if index == 0:
            kernel = params["w0"].reshape(layer.inputs, *window, layer.outputs).transpose(1, 2, 0, 3)
        else:
            kernel = params[f"w{index}"].reshape(*window, layer.inputs, layer.outputs)
        strides = (layer.stride, layer.stride)
        x = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = x + jnp.broadcast_to(params[f"b{index}"], x.shape)
        if network == "nature":
            x = jax.nn.relu(x)
    x = jax.nn.relu(linear(x.reshape(x.shape[0], -1), 3))
    return linear(x, 4).reshape(*leading, -1)


class HostNetwork:
    """A network in NumPy, for one observation at a time and any number of children.

    A call is a pure function of parameters and observation: only buffers are kept. Its time goes into the matrix
    products: the convolutions run near the core's peak, the first dense layer is bound by reading w3.

    Args:
        network: one of `NETWORKS`.
    """

    def __init__(self, network: str) -> None:
        self._relu = network == "nature"
        layers = _layers(network)
        self._observation, self._words = _unfold_pixels(layers[0])
        self._patch_words = np.empty(self._words.shape, np.uint64)
        self._patch_pixels = self._patch_words.view(np.uint8).reshape(layers[0].size ** 2, -1)
        self._stages: list[_Stage] = []
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            self._stages.append(_Stage(layer, following))
        self._features = self._stages[-1].output.reshape(-1)
        self._hidden = np.empty(_HIDDEN, np.float32)

    def __call__(self, params: Mapping[str, Float32Array], observation: npt.NDArray[np.uint8]) -> Float32Array:
        """Return the outputs, float32[num_actions], a new array.

        Args:
            params: arrays named as by `shapes`, float32.
            observation: uint8[4, 84, 84].
        """
        first, second, third = self._stages
        np.copyto(self._observation, observation)
        np.copyto(self._patch_words, self._words)
        np.copyto(first.patches, self._patch_pixels)
        np.matmul(first.patches, params["w0"], out=first.product)
        np.multiply(first.product, _PIXEL_SCALE, out=first.product)
        self._finish(first, params["b0"])
        np.copyto(second.unfolded, first.windows)
        np.matmul(second.patches, params["w1"], out=second.product)
        self._finish(second, params["b1"])
        np.copyto(third.unfolded, second.windows)
        np.matmul(third.patches, params["w2"], out=third.product)
        self._finish(third, params["b2"])
        hidden = np.matmul(self._features, params["w3"], out=self._hidden)
        np.add(hidden, params["b3"], out=hidden)
        np.maximum(hidden, _ZERO, out=hidden)
        outputs = hidden @ params["w4"]
        return np.add(outputs, params["b4"], out=outputs)

    def _finish(self, stage: _Stage, bias: Float32Array) -> None:
        np.add(stage.grid, bias, out=stage.output)
        if self._relu:
            np.maximum(stage.output, _ZERO, out=stage.output)


class _Stage:
    """The buffers of one convolution.

    Attributes:
        unfolded: the input's patches, float32[size, size, kernel, kernel, inputs]; unused in the first layer.
        patches: the same memory as a matrix, float32[size * size, kernel * kernel * inputs].
        product: product of patches and weights, float32[size * size, outputs].
        grid: the same memory as float32[size, size, outputs].
        output: the same, inside the zeros that the following layer pads with; without zeros it is `grid` itself.
        windows: the following layer's patches in `output`, a view.
    """

    def __init__(self, layer: _Layer, following: _Layer | None) -> None:
        window = (layer.kernel, layer.kernel, layer.inputs)
        self.unfolded = np.empty((layer.size, layer.size, *window), np.float32)
        self.patches = self.unfolded.reshape(layer.size**2, -1)
        before = 0 if following is None else following.before
        padded = layer.size if following is None else following.padded
        with_zeros = np.zeros((padded, padded, layer.outputs), np.float32)
        inside = slice(before, before + layer.size)
        self.output = with_zeros[inside, inside]
        self.grid = self.output if padded == layer.size else np.empty(self.output.shape, np.float32)
        self.product = self.grid.reshape(layer.size**2, -1)
        if following is not None:
            every = slice(None, None, following.stride)
            kernel = (following.kernel, following.kernel)
            self.windows = sliding_window_view(with_zeros, kernel, (0, 1))[every, every].transpose(0, 1, 3, 4, 2)


def _unfold_pixels(first: _Layer) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Return the array for an observation, uint8[4, 84, 84], and the first layer's patches in it, a view.

    The 8 pixels of a patch's row are one 64-bit word: uint64[size, size, frame, row]. Copying words before they become
    floats takes a third of the time of copying floats in the order (row, column, frame).
    """
    pixels = np.zeros((_FRAMES, first.padded, first.padded), np.uint8)
    frame, row, pixel = pixels.strides
    inside = slice(first.before, first.before + _SIZE)
    words: npt.NDArray[np.uint64] = np.ndarray(
        (first.size, first.size, _FRAMES, first.kernel),
        np.uint64,
        buffer=pixels,
        strides=(first.stride * row, first.stride * pixel, frame, row),
    )
    return pixels[:, inside, inside], words
