"""Read weight files released by others without trusting their contents.

Opening a pickle the ordinary way runs code. Here PyTorch's restricted reader reads it, which accepts only tensors and plain
containers. Other objects that training tools store in a checkpoint's metadata, such as NumPy arrays and scalars, are
replaced by an empty `Note`. Archives are read member by member within limits, and no member is unpacked under its own name.

Tensor names may have prefixes from wrappers (DataParallel, torch.compile, Lightning, moving averages); `tensors_of`
removes them.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import IO, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.keys import renamed
from sim2street.models.storage.files import is_litter

MAX_BYTES: Final = 8 * 2**30
"""Largest file accepted; the authors' largest, with optimiser and three copies of MiT-B5, is about 2 GB."""
MAX_EXPANSION: Final = 20
"""Largest expansion of an archive; compression hardly shrinks trained weights."""
SMALL_BYTES: Final = 64 * 2**20
"""Archives may always expand to this size."""
GZIP: Final = b"\x1f\x8b"
TAR: Final = b"ustar"
"""At byte 257 of a tar."""
PAGE: Final = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
"""The start of a web page, such as the one on which Google Drive asks to confirm a large download."""

CONTAINERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params",
)  # fmt: skip
"""Keys under which training tools store the network's tensors."""
AVERAGES: Final = (
    "model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "ema", "params_ema", "shadow", "averaged_model",
)  # fmt: skip
"""Keys of its moving average, which is ignored if the network itself is present."""
KNOWN_BESIDE: Final = frozenset(
    (
        "meta", "optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "param_schedulers", "scheduler",
        "scheduler_state_dict", "lr_scheduler", "lr_schedulers", "scaler", "epoch", "step", "iter", "iteration",
        "global_step", "loss", "best_miou", "args", "config", "callbacks", "loops", "hyper_parameters", "hparams_name",
        "pytorch-lightning_version", "hparams_type", "datamodule_hyper_parameters", "datamodule_hparams_name",
        "MixedPrecision", "MixedPrecisionPlugin", "NativeMixedPrecisionPlugin", "message_hub", "decay", "num_updates", "classes", "class_names", "id2label",
    )
)  # fmt: skip
"""Other keys that may be present and are not part of the network."""
INSERTED: Final = frozenset(
    ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
)
"""Parts of a tensor's name inserted by PyTorch's wrappers, around the whole network or a part of it."""
OUTER: Final = ("model", "network", "net", "model_ema", "ema", "shadow", "averaged_model")
"""Attributes in which a training module keeps its network; they prefix all names."""
COUNTERS: Final = ("n_averaged", "num_updates", "decay")
"""Counters that moving averages store beside the network."""


class Note:
    """Empty stand-in for metadata that is neither a tensor nor a plain container, so that no code runs."""

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


_NOTES: Final[list[Callable[..., Any] | tuple[Callable[..., Any], str]]] = [
    Note,
    *(
        (Note, name)
        for core in ("numpy.core", "numpy._core")
        for name in (f"{core}.multiarray.scalar", f"{core}.multiarray._reconstruct", f"{core}.numeric._frombuffer")
    ),
    *((Note, name) for name in ("numpy.ndarray", "numpy.dtype", "argparse.Namespace", "types.SimpleNamespace")),
    *((Note, f"pathlib.{name}") for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
    *(
        (OrderedDict, f"{module}.AttributeDict")  # Lightning's, for hyperparameters
        for module in (
            "pytorch_lightning.utilities.parsing",
            "lightning_fabric.utilities.data",
            "lightning.fabric.utilities.data",
        )
    ),
]
"""Names of these objects in files."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a file of weights: safetensors, a PyTorch pickle of any version, or a tar.gz that contains one.

    Returns:
        The file's top-level dict; `tensors_of` extracts the tensors.

    Raises:
        CheckpointError: it is none of these, damaged, too large, or contains more than weights.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} has {size / 2**30:.1f} GB; the limit is {MAX_BYTES >> 30} GB.")
    if start[:2] == GZIP or start[257:262] == TAR:
        with tempfile.TemporaryDirectory() as folder:
            return _read_pickle(_take_out(path, Path(folder)), name=path.name)
    if PAGE.match(start):
        raise CheckpointError(
            f"{path.name} is a web page, not a file of weights: the site asked for confirmation before the download. Open its"
            " link in a browser and save the file it then offers."
        )
    if start[8:9] == b"{":
        return _read_safetensors(path)
    return _read_pickle(path, name=path.name)


def tensors_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Extract the network's tensors from a file's top-level dict, and remove wrappers' parts from their names.

    Raises:
        CheckpointError: it contains something else, or a tensor twice.
    """
    for _ in range(len(CONTAINERS)):  # some are nested
        chosen = _container(content)
        if chosen is None:
            break
        content = content[chosen]
        if not isinstance(content, Mapping):
            raise CheckpointError(f"The file's {chosen} is a {type(content).__name__}; expected tensors by name.")
    others = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others or not content:
        shown = ", ".join(map(str, others[:8])) or "nothing"
        raise CheckpointError(f"The file contains {shown}; expected tensors by name.")
    return unwrapped(content)


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the parts that wrappers add to their names, however the wrappers are nested.

    Raises:
        CheckpointError: two tensors would then have the same name.
    """
    weights = renamed(weights, lambda key: ".".join(part for part in key.split(".") if part not in INSERTED) or key)
    while True:
        weights = {key: value for key, value in weights.items() if not (key in COUNTERS and value.numel() == 1)}
        prefix = next((f"{name}." for name in OUTER if all(key.startswith(f"{name}.") for key in weights)), None)
        if prefix is None or not weights:
            return weights
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}


def _container(content: Mapping[str, Any]) -> str | None:
    """The entry that contains the network; None if its tensors are at this level.

    Raises:
        CheckpointError: several entries could, or there is an unknown entry beside it.
    """
    if all(isinstance(value, Tensor) for value in content.values()):
        return None
    named = [name for name in CONTAINERS if name in content]
    dicts = [name for name in named if isinstance(content[name], Mapping)]
    averages = [name for name in AVERAGES if isinstance(content.get(name), Mapping)]
    chosen = next(iter(dicts or averages or named), None)
    if chosen is None:
        return None
    if len(dicts) > 1:
        raise CheckpointError(f"The file contains several networks: {', '.join(dicts)}. Save one of them alone.")
    beside = content.keys() - {chosen, *named, *AVERAGES} - KNOWN_BESIDE
    if beside:
        raise CheckpointError(
            f"Besides {chosen} the file contains the unknown entries {', '.join(sorted(map(str, beside))[:8])}; expected only"
            " training metadata such as meta and optimizer."
        )
    return chosen


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is not a readable safetensors file ({error}).") from error


def _read_pickle(path: Path, *, name: str) -> dict[str, Any]:
    """Read a pickle with PyTorch's restricted reader; errors call it `name`."""
    if zipfile.is_zipfile(path):
        _refuse_bomb(path, name)
    try:
        with torch.serialization.safe_globals(_NOTES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storage classes that old files name
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)|function ([\w.]+)", str(error))
        called = next((group for group in found.groups() if group), "") if found else ""
        if called:
            raise CheckpointError(
                f"{name} tries to run {called}, which a file of weights never needs. Nothing was run; the file is refused."
            ) from error
        # PyTorch's own message is not passed on: it advises opening the file without the restriction.
        raise CheckpointError(
            f"{name} is damaged, or not a file of PyTorch weights. Expected .pth, .pt, .bin, .safetensors, or a .tar.gz with"
            " one of them."
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f"{name} is truncated, damaged, or not a file of PyTorch weights. Download it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{name} contains a {type(content).__name__}; expected a dict of tensors.")
    return content


def _refuse_bomb(path: Path, name: str) -> None:
    """Raise `CheckpointError` for a zip that PyTorch did not write or that expands when read; PyTorch never compresses."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(f"{name} is a damaged archive ({error}). Download it again.") from error
    if not any(PurePosixPath(member.filename).name == "data.pkl" for member in members):
        shown = ", ".join(member.filename for member in members[:6])
        raise CheckpointError(
            f"{name} is an archive of several files ({shown}), not one file of weights. Unpack it and name one of them."
        )
    total = sum(member.file_size for member in members)
    if total > path.stat().st_size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(
            f"{name} would grow to {total / 2**20:.0f} MB from {path.stat().st_size / 2**20:.1f} MB. PyTorch does not compress"
            " its files, so another program wrote this one. It is refused."
        )


class _Bounded:
    """A stream that yields at most `limit` bytes, so that no archive can fill memory or disk."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self.stream = stream
        self.left = limit
        self.name = name

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise CheckpointError(
                f"{self.name} expands to more than {MAX_EXPANSION} times its size, which weights never do. It is refused."
            )
        return data


def _take_out(path: Path, folder: Path) -> Path:
    """Copy the only file of weights in a tar or tar.gz into `folder`, under our own name."""
    limit = min(MAX_BYTES, max(SMALL_BYTES, MAX_EXPANSION * path.stat().st_size))
    taken: dict[str, Path] = {}
    try:
        with (
            gzip.open(path) if _starts_with(path, GZIP) else path.open("rb") as stream,
            tarfile.open(fileobj=_Bounded(stream, limit, path.name), mode="r|") as archive,  # pyright: ignore[reportArgumentType, reportCallIssue]
        ):
            for member in archive:
                _refuse_escape(member, path.name)
                is_weights = member.name.endswith((".pth", ".pt"))
                if member.isfile() and is_weights and not any(map(is_litter, PurePosixPath(member.name).parts)):
                    source = archive.extractfile(member)
                    assert source is not None
                    target = folder / f"{len(taken)}.pth"
                    with target.open("wb") as file:
                        while block := source.read(2**20):
                            file.write(block)
                    taken[member.name] = target
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise CheckpointError(f"{path.name} is truncated or not a tar.gz ({error}). Download it again.") from error
    if not taken:
        raise CheckpointError(f"{path.name} does not contain a file of weights (*.pth).")
    latest = [target for place, target in taken.items() if PurePosixPath(place).name == "latest.pth"]
    chosen = latest or list(taken.values())
    if len(chosen) > 1:
        raise CheckpointError(f"{path.name} contains {', '.join(taken)}. Unpack it and name one of them.")
    return chosen[0]


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _refuse_escape(member: tarfile.TarInfo, name: str) -> None:
    """Raise `CheckpointError` for a member that points outside its archive, or is not a file, folder or link."""
    places = [member.name] + ([member.linkname] if member.issym() or member.islnk() else [])
    for place in (PurePosixPath(place.replace("\\", "/")) for place in places):
        if place.is_absolute() or ".." in place.parts:
            raise CheckpointError(f"{name} contains {place}, which points outside the archive. The archive is refused.")
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()) or member.issparse():
        # A sparse file's holes are not in the stream, so a limit on the stream cannot bound it.
        raise CheckpointError(
            f"{name} contains {member.name}, which is not a regular file or folder. The archive is refused."
        )
