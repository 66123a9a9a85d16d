"""The commands of `sim2street`, in the order of its help.

A command is a module with `add`, which describes its arguments, and `run`, which returns the exit code or None for 0.
Modules import what they call inside `run`, so `sim2street --help` need not wait for torch.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from sim2street.training.commands import (
    adapt,
    admin,
    app,
    average,
    bench,
    cache,
    checkpoints,
    collection,
    completion,
    datasets,
    demo,
    evaluate,
    export,
    export_pseudo_labels,
    import_weights,
    jobs,
    predict,
    publish,
    recipes,
    render,
    space,
    sweep,
    train,
    translate,
)

COMMANDS: Final[tuple[ModuleType, ...]] = (
    app,
    demo,
    checkpoints,
    render,
    recipes,
    train,
    sweep,
    evaluate,
    predict,
    adapt,
    export_pseudo_labels,
    average,
    translate,
    import_weights,
    export,
    datasets,
    cache,
    publish,
    collection,
    space,
    jobs,
    admin,
    bench,
    completion,
)
