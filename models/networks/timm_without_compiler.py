"""Imports timm without PyTorch's compiler, which nothing here uses: a third of the time.

torchvision's operators, which timm imports, import the compiler for one function that they call while compiling, and timm
marks one class as not to be compiled. Both are kept from it here; whoever uses the compiler later imports it then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

import torch.compiler

COMPILER: Final = "torch._dynamo.utils"


class _Later(ModuleType):
    """Stands in for the compiler's module; the first access to anything but the one function imports the real one."""

    def is_compile_supported(self, device: str) -> bool:
        """As the real one, which is imported when torchvision calls this."""
        return self.__getattr__("is_compile_supported")(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by the import system
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


@contextmanager
def _without_compiler() -> Iterator[None]:
    if COMPILER in sys.modules:
        yield
        return
    later, disable = _Later(COMPILER), torch.compiler.disable
    sys.modules[COMPILER] = later
    torch.compiler.disable = _unchanged
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(COMPILER) is later:
            del sys.modules[COMPILER]


def _unchanged(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    """A decorator, with or without arguments, that changes nothing."""
    return fn if fn is not None else _unchanged


with _without_compiler():
    import timm  # noqa: F401
