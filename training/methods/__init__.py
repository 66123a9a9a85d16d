"""The registry of methods, by year; the command line, pages and model cards quote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sim2street.models.registry import Registry
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods import adabn, advent, cycada, daformer, dann, hrda, mic, source_only, tent, vfm_uda
from sim2street.training.methods.base import Method, MethodEntry, fault_of_entry

METHODS: Final = Registry[MethodEntry](
    "method",
    "sim2street.methods",
    [file.ENTRY for file in (source_only, adabn, dann, cycada, advent, tent, daformer, hrda, mic, vfm_uda)],
    fault=fault_of_entry,
    order=lambda entry: entry.year or 0,
)


def build_method(name: str, segmenter: Segmenter, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method around a segmenter: `build_method("advent", segmenter, {"entropy_weight": 0.001})`.

    Raises:
        ConfigError: there is no such method, or an option is unknown or out of range.
    """
    entry = METHODS.find(name)
    return entry.method(segmenter, entry.options.parse(options or {}, where=f"method {name}"))
