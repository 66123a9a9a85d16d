"""Map one function over many items in several processes, with results in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

import cv2
from torch.utils.data import DataLoader, Dataset

from sim2street.models.errors import Sim2StreetError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 0, *, ahead: int = 2
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in order regardless of the number of workers.

    Args:
        function: called in the workers; picklable unless workers is 0.
        items: may be endless.
        workers: number of additional processes; 0 computes in this process, one item at a time on request.
        ahead: results that each worker prepares in advance.

    Raises:
        Sim2StreetError: as raised by the function, with its message unchanged; likewise OSError.
    """
    if workers == 0:
        yield from map(function, items)
        return
    loader = DataLoader(
        cast(Dataset[Any], _Calls(function)),
        sampler=cast(Any, items),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead,
        collate_fn=_unchanged,
        worker_init_fn=_keep_to_one_thread,
    )
    for result in loader:
        if isinstance(result, Sim2StreetError | OSError):
            raise result
        yield result


class _Calls(Generic[Item, Result]):
    """Provides the function's results by index, as a DataLoader expects."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.function = function

    def __getitem__(self, item: Item) -> Result | Exception:
        try:
            return self.function(item)
        except (Sim2StreetError, OSError) as error:
            # Raised in the worker, it would arrive with a traceback inside its message.
            return error


def _unchanged(result: Result) -> Result:
    return result


def _keep_to_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
