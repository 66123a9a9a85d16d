"""Reading the files that authors released, none of whose contents is trusted.

Pickles run code when they are opened the ordinary way. Here they are read by PyTorch's restricted reader, which knows
tensors and plain containers only. What else training tools leave among a checkpoint's notes, such as NumPy's arrays and
scalars, is replaced by a `Note` that holds nothing. Archives are read member by member within bounds; nothing is unpacked
by its own name.

The tensors may lie under names that wrappers gave them (DataParallel, torch.compile, Lightning, moving averages);
`tensors_of` takes those off.
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
"""Largest file that is read; the authors' largest, with optimiser and three copies of MiT-B5, has about 2 GB."""
MAX_EXPANSION: Final = 20
"""Most that an archive may grow; trained weights hardly shrink when they are compressed."""
SMALL_BYTES: Final = 64 * 2**20
"""Archives may always grow to this size."""
GZIP: Final = b"\x1f\x8b"
TAR: Final = b"ustar"
"""At byte 257 of a tar."""
PAGE: Final = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
"""How a web page begins, such as the one on which Google Drive asks to confirm a large download."""

CONTAINERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params",
)  # fmt: skip
"""Where training tools put the network's tensors."""
AVERAGES: Final = (
    "model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "ema", "params_ema", "shadow", "averaged_model",
)  # fmt: skip
"""The same of its moving average; beside the network itself it is not looked at."""
KNOWN_BESIDE: Final = frozenset(
    (
        "meta", "optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "param_schedulers", "scheduler",
        "scheduler_state_dict", "lr_scheduler", "lr_schedulers", "scaler", "epoch", "step", "iter", "iteration",
        "global_step", "loss", "best_miou", "args", "config", "callbacks", "loops", "hyper_parameters", "hparams_name",
        "pytorch-lightning_version", "hparams_type", "datamodule_hyper_parameters", "datamodule_hparams_name",
        "MixedPrecision", "MixedPrecisionPlugin", "NativeMixedPrecisionPlugin", "message_hub", "decay", "num_updates", "classes", "class_names", "id2label",
    )
)  # fmt: skip
"""What may lie beside them and is not taken for part of the network."""
INSERTED: Final = frozenset(
    ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
)
"""Parts of a tensor's name that PyTorch's wrappers insert, around the whole network or around a part of it."""
OUTER: Final = ("model", "network", "net", "model_ema", "ema", "shadow", "averaged_model")
"""Attributes under which a training module holds its network, so that all names begin with one of them."""
COUNTERS: Final = ("n_averaged", "num_updates", "decay")
"""What moving averages count beside the network."""


class Note:
    """What a file's notes held that is neither tensor nor plain container: only its place is kept, so nothing runs."""

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
"""Names by which files call them."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a file of weights: safetensors, a PyTorch pickle of any age, or a tar.gz that holds one.

    Returns:
        What the file holds at its top, a dict; `tensors_of` takes the tensors out of it.

    Raises:
        CheckpointError: it is none of these, damaged, too large, or holds more than weights.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} has {size / 2**30:.1f} GB; up to {MAX_BYTES >> 30} GB are read.")
    if start[:2] == GZIP or start[257:262] == TAR:
        with tempfile.TemporaryDirectory() as folder:
            return _read_pickle(_take_out(path, Path(folder)), name=path.name)
    if PAGE.match(start):
        raise CheckpointError(
            f"{path.name} is a web page, not a file of weights: the site wanted an answer before the download. Open its"
            " link in a browser and save what comes then."
        )
    if start[8:9] == b"{":
        return _read_safetensors(path)
    return _read_pickle(path, name=path.name)


def tensors_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the network's tensors out of what a file holds at its top, and wrappers' parts off their names.

    Raises:
        CheckpointError: something else lies there, or a tensor comes twice.
    """
    for _ in range(len(CONTAINERS)):  # some nest one in another
        chosen = _container(content)
        if chosen is None:
            break
        content = content[chosen]
        if not isinstance(content, Mapping):
            raise CheckpointError(f"The file's {chosen} is a {type(content).__name__}; expected tensors by name.")
    others = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others or not content:
        shown = ", ".join(map(str, others[:8])) or "nothing"
        raise CheckpointError(f"The file holds {shown} where tensors by name were expected.")
    return unwrapped(content)


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without what wrappers add to their names, in whatever order the wrappers lie around each other.

    Raises:
        CheckpointError: two tensors have the same name then.
    """
    weights = renamed(weights, lambda key: ".".join(part for part in key.split(".") if part not in INSERTED) or key)
    while True:
        weights = {key: value for key, value in weights.items() if not (key in COUNTERS and value.numel() == 1)}
        prefix = next((f"{name}." for name in OUTER if all(key.startswith(f"{name}.") for key in weights)), None)
        if prefix is None or not weights:
            return weights
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}


def _container(content: Mapping[str, Any]) -> str | None:
    """The entry that holds the network; None where its tensors lie here.

    Raises:
        CheckpointError: several could, or something lies beside it that nobody knows.
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
        raise CheckpointError(f"The file holds several networks: {', '.join(dicts)}. Save one of them alone.")
    beside = content.keys() - {chosen, *named, *AVERAGES} - KNOWN_BESIDE
    if beside:
        raise CheckpointError(
            f"Beside {chosen} the file holds {', '.join(sorted(map(str, beside))[:8])}, which nobody here knows; expected"
            " training notes such as meta and optimizer only."
        )
    return chosen


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is no readable safetensors file ({error}).") from error


def _read_pickle(path: Path, *, name: str) -> dict[str, Any]:
    """Read a pickle with PyTorch's restricted reader; `name` is what errors call it."""
    if zipfile.is_zipfile(path):
        _refuse_bomb(path, name)
    try:
        with torch.serialization.safe_globals(_NOTES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storage classes that old files name
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)|function ([\w.]+)", str(error))
        called = next((group for group in found.groups() if group), "") if found else ""
        if called:
            raise CheckpointError(
                f"{name} asks to run {called}, which no weights need. It was not run, and the file is refused."
            ) from error
        # PyTorch's own words are not passed on: they advise to open the file without the restriction.
        raise CheckpointError(
            f"{name} is no file of weights that PyTorch writes, or a damaged one. Expected are .pth, .pt, .bin,"
            " .safetensors, or a .tar.gz with one of them."
        ) from error
    except Exception as error:  # a damaged pickle can raise whatever its reader stumbles over
        raise CheckpointError(
            f"{name} is cut short, damaged, or no file of weights that PyTorch writes. Download it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{name} holds a {type(content).__name__}; expected a dict of tensors.")
    return content


def _refuse_bomb(path: Path, name: str) -> None:
    """Raise `CheckpointError` for a zip that is not PyTorch's own or grows when it is read; PyTorch never compresses."""
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
            f"{name} would grow to {total / 2**20:.0f} MB from {path.stat().st_size / 2**20:.1f} MB. PyTorch's files are"
            " not compressed, so this one was made by something else, and it is refused."
        )


class _Bounded:
    """A stream that refuses to give more than `limit` bytes, so that no archive can fill memory or disk."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self.stream = stream
        self.left = limit
        self.name = name

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise CheckpointError(
                f"{self.name} grows to more than {MAX_EXPANSION} times its size; weights do not. It is refused."
            )
        return data


def _take_out(path: Path, folder: Path) -> Path:
    """Copy the one file of weights within a tar or tar.gz into `folder`, under a name of our own."""
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
        raise CheckpointError(f"{path.name} is cut short or no tar.gz ({error}). Download it again.") from error
    if not taken:
        raise CheckpointError(f"{path.name} holds no file of weights (*.pth).")
    latest = [target for place, target in taken.items() if PurePosixPath(place).name == "latest.pth"]
    chosen = latest or list(taken.values())
    if len(chosen) > 1:
        raise CheckpointError(f"{path.name} holds {', '.join(taken)}. Unpack it and name one of them.")
    return chosen[0]


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _refuse_escape(member: tarfile.TarInfo, name: str) -> None:
    """Raise `CheckpointError` for a member that points out of its archive, or is neither file, folder nor link."""
    places = [member.name] + ([member.linkname] if member.issym() or member.islnk() else [])
    for place in (PurePosixPath(place.replace("\\", "/")) for place in places):
        if place.is_absolute() or ".." in place.parts:
            raise CheckpointError(f"{name} holds {place}, which points out of the archive. It is refused whole.")
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()) or member.issparse():
        # A sparse file's holes are not in the stream, so that no bound on the stream would hold it.
        raise CheckpointError(f"{name} holds {member.name}, which is no plain file or folder. It is refused whole.")
