"""Strict translation of the authors' tensor names to ours: every key is used, or listed as one that may be left out.

A family of checkpoints gives a pure function from its keys to ours. Unknown keys are an error that lists them; so are
missing tensors, tensors of another shape, and tensors with NaNs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sim2street.models.errors import CheckpointError
from sim2street.models.networks import is_finite

BATCHES = "num_batches_tracked"
"""Counter of batch norms. Networks older than PyTorch 0.4.1 lack it, and evaluation does not use it."""
VARIANCE = "running_var"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class LeftOut:
    """Translation of a key that is known but not part of the network. `reason` is shown to the user."""

    reason: str


Translation = str | LeftOut | None
"""Our key; a `LeftOut`; or None for an unknown key."""

Rename = Callable[[str], Translation]


@dataclass
class Match:
    """Weights under our names.

    Attributes:
        weights: by our key.
        left_out: how many tensors were left out, by reason.
    """

    weights: dict[str, Tensor]
    left_out: Counter[str] = field(default_factory=Counter)


def rename_by(rules: Mapping[str, str | LeftOut]) -> Rename:
    r"""Build a key map from rules on module names: `{r"backbone\.norm(\d)": r"encoder.norm\1"}`.

    A rule must match a key's whole module name, which is the key without its last part (weight, bias, running_mean and
    so on); that part stays unchanged.
    """
    compiled = [(re.compile(pattern), answer) for pattern, answer in rules.items()]

    def rename(key: str) -> Translation:
        module, _, last = key.rpartition(".")
        for pattern, answer in compiled:
            match = pattern.fullmatch(module)
            if match is not None:
                return answer if isinstance(answer, LeftOut) else f"{match.expand(answer)}.{last}"
        return None

    return rename


def translate(theirs: Mapping[str, Tensor], rename: Rename, core: nn.Module, *, title: str) -> Match:
    """Rename weights to our names and check them against the network they are for.

    Linear layers that act on maps are 1x1 convolutions here: a (K, D) matrix is read as a (K, D, 1, 1) kernel.

    Args:
        theirs: tensors by the authors' keys.
        rename: the family's key map.
        core: our network, which defines the expected keys and shapes; its values are not used. May be on the meta device.
        title: name of the expected network for errors: "DAFormer on MiT-B5".

    Raises:
        CheckpointError: keys are unknown or missing, shapes differ, or values are not finite floating-point numbers.
    """
    expected = {key: value.shape for key, value in core.state_dict().items()}
    found = Match({})
    origin: dict[str, str] = {}
    unknown: list[str] = []
    for key, value in theirs.items():
        answer = rename(key)
        if isinstance(answer, LeftOut):
            found.left_out[answer.reason] += 1
        elif answer is None or answer not in expected or answer in origin:
            unknown.append(key)
        else:
            _refuse_layout(key, value)
            linear = value.ndim == 2 and tuple(expected[answer]) == (*value.shape, 1, 1)
            found.weights[answer] = value[..., None, None] if linear else value
            origin[answer] = key
    if unknown:
        raise CheckpointError(f"The file contains {_listed(unknown)}, which {title} does not have.")
    missing = [key for key in expected if key not in found.weights and not key.endswith(BATCHES)]
    if missing:
        raise CheckpointError(
            f"The file lacks {len(missing)} of the {len(expected)} tensors of {title}; missing are {_listed(missing)}"
            " (our names)."
        )
    for key, value in found.weights.items():
        _check(origin[key], value, expected[key], title)
    for key, shape in expected.items():
        found.weights.setdefault(key, torch.zeros(shape, dtype=torch.int64))  # only counters can still be missing
    return found


def renamed(weights: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """Return the weights under other names.

    Raises:
        CheckpointError: two tensors of the file would get the same name, so that one would be lost silently.
    """
    result: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for key, value in weights.items():
        name = rename(key)
        if name in result:
            raise CheckpointError(f"The file contains {origin[name]} and {key}, which are the same tensor twice.")
        result[name], origin[name] = value, key
    return result


def shapes_at(weights: Mapping[str, Tensor], pattern: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors whose key matches all of `pattern`."""
    return {key: tuple(value.shape) for key, value in weights.items() if re.fullmatch(pattern, key)}


def _refuse_layout(key: str, value: Tensor) -> None:
    """Raise `CheckpointError` for a tensor that is not dense."""
    if value.layout != torch.strided or value.is_nested or value.is_meta:
        raise CheckpointError(f"{key} is a sparse, nested or empty tensor; expected a dense tensor.")


def _check(key: str, value: Tensor, shape: torch.Size, title: str) -> None:
    if value.shape != shape:
        hint = ""
        if value.ndim == len(shape) and value.shape[1:] == shape[1:]:
            hint = f": {value.shape[0]} classes or channels, expected {shape[0]}"
        raise CheckpointError(f"{key} has shape {tuple(value.shape)}, {title} has {tuple(shape)}{hint}.")
    if key.endswith(BATCHES):
        # Moving averages include counters, which turns them into floats.
        if value.is_floating_point() and not (is_finite(value.float()) and bool((value >= 0).all())):
            raise CheckpointError(f"{key} is {float(value):g}; expected a count.")
        return
    if value.dtype not in FLOATS:
        raise CheckpointError(
            f"{key} has the type {str(value.dtype).removeprefix('torch.')}; expected floating-point numbers."
        )
    if not is_finite(value.float()):  # checked as stored: a double may overflow fp32
        raise CheckpointError(f"{key} contains NaN or infinite values. The file cannot be used.")
    if key.endswith(VARIANCE) and bool((value < 0).any()):
        raise CheckpointError(f"{key} contains negative variances. The file cannot be used.")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(key or "a tensor without a name" for key in sorted(keys)[:8])
    return shown + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
