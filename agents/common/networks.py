"""Torch networks that several methods use, and their weights and optimizers as named arrays.

Initial weights come from a generator of their own, so building a network draws nothing from torch's global one.
Layers are named as :class:`agents.common.perceptron.Perceptron` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cosim.errors import AgentError, ScenarioError

Arrays = dict[str, NDArray[Any]]

# Networks of this size are faster on one thread, and sums then have one order wherever they run.
torch.set_num_threads(1)


def pick_device(name: str) -> torch.device:
    """Return the device for auto, cpu or cuda; ScenarioError if there is no CUDA device and one is wanted."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ScenarioError("--device cuda: torch sees no CUDA device here; --device cpu, or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


class PerceptronNet(nn.Module):
    """Linear layers with ReLU (or *activation*) between them: widths ``sizes`` from input to output.

    ``last_gain`` scales the initial weights of the last layer; a small one begins near zero for any input.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generator: torch.Generator,
        activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu,
        last_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self._activation = activation
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            bound = 1.0 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        if last_gain != 1.0:
            with torch.no_grad():
                for parameter in self.layers[-1].parameters():
                    parameter.mul_(last_gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, out) for (…, in)."""
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < last:
                x = self._activation(x)
        return x


def module_arrays(module: nn.Module, prefix: str) -> Arrays:
    """Return copies of a module's weights as ``PREFIX.NAME``; ``layers.`` in a name is left out."""
    return {
        _named(prefix, name): tensor.detach().cpu().numpy().copy()
        for name, tensor in module.state_dict().items()
    }


def load_module(module: nn.Module, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Set a module's weights from :func:`module_arrays`; AgentError if one is missing or of another shape."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            array = arrays.get(_named(prefix, name))
            if array is None or tuple(array.shape) != tuple(tensor.shape):
                found = "missing" if array is None else f"of shape {array.shape}"
                raise AgentError(
                    f"weights '{_named(prefix, name)}' must be {tuple(tensor.shape)}, are {found}"
                )
            tensor.copy_(torch.from_numpy(np.array(array)))


def optimizer_arrays(optimizer: torch.optim.Optimizer, prefix: str) -> Arrays:
    """Return an optimizer's moments and counts as ``PREFIX.NUMBER.NAME``, parameters numbered in their order."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{number}.{name}": tensor.detach().cpu().numpy().copy()
        for number, values in state.items()
        for name, tensor in values.items()
        if isinstance(tensor, torch.Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Set what :func:`optimizer_arrays` gave; settings such as the learning rate stay as they are."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        if key.startswith(f"{prefix}."):
            number, name = key.removeprefix(f"{prefix}.").split(".")
            state.setdefault(int(number), {})[name] = torch.from_numpy(np.array(array))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def soft_copy(target: nn.Module, source: nn.Module, share: float) -> None:
    """Move *target*'s weights that share of the way to *source*'s; 1 copies."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), share)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _named(prefix: str, name: str) -> str:
    return f"{prefix}.{name.removeprefix('layers.')}"
