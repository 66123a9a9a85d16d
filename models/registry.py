"""Registries: entries of one kind by name, both this project's own and those added by installed packages.

Another package adds an entry through an entry point in its pyproject.toml:

    [project.entry-points."sim2street.methods"]
    my_method = "my_package.my_method:ENTRY"

A package that cannot be loaded, or whose entry is invalid, is left out with a warning that names it; everything else
keeps working.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, Protocol, TypeVar

from sim2street.models.errors import ConfigError, did_you_mean

LOGGER: Final = logging.getLogger(__name__)


class Named(Protocol):
    """What every entry of a registry must have."""

    @property
    def name(self) -> str:
        """Key in its registry, and in recipes and configs."""
        ...


Entry = TypeVar("Entry", bound=Named)


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name. Other packages are loaded only when the registry is listed or a name is not among the project's own.

    Args:
        kind: what an entry is called in messages, such as "method".
        group: name of the entry point group.
        own: the project's own entries, in the order in which they are listed.
        fault: describes what makes an object invalid as an entry; None if it is valid.
        order: sort key for all entries; by default those of other packages follow the project's own.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Iterable[Entry],
        *,
        fault: Callable[[Any], str | None],
        order: Callable[[Entry], Any] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.left_out: list[str] = []
        self._own = {entry.name: entry for entry in own}
        self._fault = fault
        self._order = order
        self._all: dict[str, Entry] | None = None
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Entry:
        return self._own[name] if name in self._own else self._entries()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def find(self, name: str) -> Entry:
        """Return the entry with this name.

        Raises:
            ConfigError: there is no such entry; the message lists the known ones and the packages that were left out.
        """
        try:
            return self[name]
        except KeyError:
            hint = did_you_mean(name, list(self))
            said = [f"There is no {self.kind} {name!r}; known are {', '.join(self)}.{hint}", *self.left_out]
            raise ConfigError(" ".join(said)) from None

    def reload(self) -> None:
        """Forget the entries of other packages, so that the next access loads them again."""
        with self._lock:
            self._all = None
            self.left_out = []

    def _entries(self) -> dict[str, Entry]:
        with self._lock:
            if self._all is None:
                found = dict(self._own)
                for point in entry_points(group=self.group):
                    self._add(found, point)
                order = self._order
                names = list(found) if order is None else sorted(found, key=lambda name: order(found[name]))
                self._all = {name: found[name] for name in names}
            return self._all

    def _add(self, found: dict[str, Entry], point: EntryPoint) -> None:
        package = point.dist.name if point.dist is not None else point.module
        try:
            entry = point.load()
        except Exception as error:  # another package's module may raise anything
            fault = f"{type(error).__name__}: {error}"
        else:
            fault = self._fault(entry)
            if fault is None and entry.name not in found:
                found[entry.name] = entry
                return
            fault = fault or f"a {self.kind} {entry.name!r} already exists"
        self.left_out.append(f"The {self.kind} {point.name!r} of the package {package} was left out: {fault}.")
        LOGGER.warning(self.left_out[-1])
