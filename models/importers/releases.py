"""Released weights by name: what they are, what their authors report, and where to get them.

`url` is set if the authors give a direct link. The others require a person to confirm something on a page (Google Drive,
OneDrive), so that page is named instead. Links are those of the authors' READMEs; mIoU values are the authors', in percent on
Cityscapes val, single scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sim2street.models.errors import ConfigError

ADVENT_RELEASE: Final = "https://github.com/valeoai/ADVENT/releases"
MERCED: Final = "http://vllab.ucmerced.edu/ytsai/CVPR18"
DROPBOX: Final = "https://www.dropbox.com/s"
HUB_MASK2FORMER: Final = "facebook/mask2former-swin-{size}-cityscapes-semantic"
HUB_CITYSCAPES: Final = "nvidia/segformer-{variant}-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class Release:
    """Weights released by their authors.

    Attributes:
        name: on the command line.
        family: key in `FAMILIES`.
        title: display name.
        method: the method that trained them.
        source: labelled source data set.
        target: unlabelled target data set; None for source-only.
        page: web page to download them from.
        url: direct link to the file, if the authors give one.
        repository: repository on the Hugging Face Hub, if they are there.
        miou: mIoU reported by the authors, None if they give none for exactly this file.
        members: names of the weights whose logits are averaged, for an ensemble.
    """

    name: str
    family: str
    title: str
    method: str
    source: str
    target: str | None
    page: str
    url: str = ""
    repository: str = ""
    miou: float | None = None
    members: tuple[str, ...] = ()


def _drive(identity: str) -> str:
    return f"https://drive.google.com/file/d/{identity}/view"


def _mmseg(
    family: str, title: str, source: str, target: str, identity: str, miou: float | None = None
) -> tuple[str, Release]:
    """One archive of the DAFormer family, all of which are on Google Drive."""
    name = f"{source}_to_{target}_{family}"
    entry = Release(name, family, f"{title} {source} → {target}", family, source, target, _drive(identity), miou=miou)
    return name, entry


RELEASES: Final[dict[str, Release]] = dict(
    [
        *(
            (entry.name, entry)
            for entry in (
                Release(
                    "gta2cityscapes_advent",
                    "advent",
                    "AdvEnt gta5 → cityscapes",
                    "advent",
                    "gta5",
                    "cityscapes",
                    ADVENT_RELEASE,
                    url=f"{ADVENT_RELEASE}/download/v0.1/gta2cityscapes_advent.pth",
                    miou=43.8,
                ),
                Release(
                    "gta2cityscapes_minent_ER",
                    "advent",
                    "MinEnt+ER gta5 → cityscapes",
                    "minent",
                    "gta5",
                    "cityscapes",
                    ADVENT_RELEASE,
                    miou=43.1,
                ),
                Release(
                    "gta2cityscapes_advent_cyclegan",
                    "advent",
                    "AdvEnt on CycleGAN's gta5 → cityscapes",
                    "advent",
                    "gta5 translated by CycleGAN",
                    "cityscapes",
                    ADVENT_RELEASE,
                    miou=46.3,
                ),
                Release(
                    "gta2cityscapes_advent_minent",
                    "advent",
                    "AdvEnt+MinEnt gta5 → cityscapes",
                    "advent",
                    "gta5",
                    "cityscapes",
                    ADVENT_RELEASE,
                    miou=45.5,
                    members=("gta2cityscapes_advent", "gta2cityscapes_minent_ER"),
                ),
                Release(
                    "gta2cityscapes_adaptsegnet",
                    "adaptsegnet",
                    "AdaptSegNet gta5 → cityscapes",
                    "adaptsegnet",
                    "gta5",
                    "cityscapes",
                    "https://github.com/wasidennis/AdaptSegNet",
                    url=f"{MERCED}/GTA2Cityscapes_multi-ed35151c.pth",
                ),
                Release(
                    "gta5_drn26",
                    "cycada",
                    "Source-only DRN-26 gta5",
                    "source_only",
                    "gta5",
                    None,
                    "https://github.com/jhoffman/cycada_release",
                    url=f"{DROPBOX}/6l073jpt6eo8t8n/drn26-gta5-iter115000.pth?dl=1",
                ),
                Release(
                    "cyclegta5_drn26",
                    "cycada",
                    "CyCADA, pixels only, gta5 → cityscapes",
                    "cycada",
                    "gta5 translated by CycleGAN",
                    "cityscapes",
                    "https://github.com/jhoffman/cycada_release",
                    url=f"{DROPBOX}/5hwuq1gy55f6q2b/drn26-cyclegta5-iter115000.pth?dl=1",
                ),
                Release(
                    "gta2cityscapes_cycada",
                    "cycada",
                    "CyCADA, pixels and features, gta5 → cityscapes",
                    "cycada",
                    "gta5 translated by CycleGAN",
                    "cityscapes",
                    "https://github.com/jhoffman/cycada_release",
                    url=f"{DROPBOX}/dgt00nt6oymbt4k/drn26_cycada_cyclegta2cityscapes.pth?dl=1",
                    miou=39.5,
                ),
            )
        ),
        _mmseg("daformer", "DAFormer", "gta5", "cityscapes", "1pG3kDClZDGwp1vSTEXmTchkGHmnLQNdP", 68.85),
        (
            "gta5_to_cityscapes_segformer",
            Release(
                "gta5_to_cityscapes_segformer",
                "daformer",
                "DAFormer's SegFormer baseline gta5 → cityscapes",
                "self_training",
                "gta5",
                "cityscapes",
                _drive("1neppvQVH2kqjS2KSS82llk9iZ3QNry4h"),
                miou=58.2,
            ),
        ),
        _mmseg("daformer", "DAFormer", "synthia", "cityscapes", "1V9EpoTePjGq33B8MfombxEEcq9a2rBEt"),
        _mmseg("daformer", "DAFormer", "cityscapes", "acdc", "16RSBkzJbGprWr04LjyNleqRzRZgCaEBn"),
        _mmseg("daformer", "DAFormer", "cityscapes", "dark_zurich", "1_VXKDhnp4x4sslBj5B8tqqBJXeOuI9hS"),
        _mmseg("hrda", "HRDA", "gta5", "cityscapes", "1O6n1HearrXHZTHxNRWp8HCMyqbulKcSW", 73.79),
        _mmseg("hrda", "HRDA", "synthia", "cityscapes", "1V6kSLq3FH8o-FJf-syiiQx6E74ML9Huw"),
        _mmseg("hrda", "HRDA", "cityscapes", "acdc", "1Pwb1NAKx-WeVdhKEfafn29_JP4iEyKQM"),
        _mmseg("hrda", "HRDA", "cityscapes", "dark_zurich", "1QEfolITfZWA_gvtTtVgv8oa-exP9PEo0"),
        _mmseg("mic", "MIC (HRDA)", "gta5", "cityscapes", "1p_Ytxmj8EckYsq6SdZNZJNC3sgxVRn2d", 75.9),
        _mmseg("mic", "MIC (HRDA)", "synthia", "cityscapes", "1-Ed0Z2APrhIdsuQTOWXNlZwJJ9Yr2-Vu"),
        _mmseg("mic", "MIC (HRDA)", "cityscapes", "acdc", "10RNOAyUY5nYKzIIbNTie458r9etzfvtc"),
        _mmseg("mic", "MIC (HRDA)", "cityscapes", "dark_zurich", "1HXIwLULUsspBG4U1UAd7OQnDq1G33aTA"),
        (
            "cityscapes_segformer_b5",
            Release(
                "cityscapes_segformer_b5",
                "segformer",
                "SegFormer-B5 trained on Cityscapes' labels",
                "source_only",
                "cityscapes",
                None,
                f"https://huggingface.co/{HUB_CITYSCAPES.format(variant='b5')}",
                repository=HUB_CITYSCAPES.format(variant="b5"),
            ),
        ),
        *(
            (
                f"gta5_to_cityscapes_vfm_uda_{size}",
                Release(
                    f"gta5_to_cityscapes_vfm_uda_{size}",
                    "vfm_uda",
                    f"VFM-UDA {size} gta5 → cityscapes",
                    "vfm_uda",
                    "gta5",
                    "cityscapes",
                    f"https://huggingface.co/tue-mps/vfmuda_{size}_gta2city",
                    repository=f"tue-mps/vfmuda_{size}_gta2city",
                    miou=miou,
                ),
            )
            for size, miou in (("base", 77.1), ("large", 78.4))
        ),
        (
            "cityscapes_eomt_large",
            Release(
                "cityscapes_eomt_large",
                "eomt",
                "EoMT large trained on Cityscapes' labels",
                "source_only",
                "cityscapes",
                None,
                "https://huggingface.co/tue-mps/cityscapes_semantic_eomt_large_1024",
                repository="tue-mps/cityscapes_semantic_eomt_large_1024",
                miou=84.2,
            ),
        ),
        *(
            (
                f"cityscapes_mask2former_swin_{size}",
                Release(
                    f"cityscapes_mask2former_swin_{size}",
                    "mask2former",
                    f"Mask2Former on Swin-{size[0].upper()} trained on Cityscapes' labels",
                    "source_only",
                    "cityscapes",
                    None,
                    f"https://huggingface.co/{HUB_MASK2FORMER.format(size=size)}",
                    repository=HUB_MASK2FORMER.format(size=size),
                ),
            )
            for size in ("small", "large")
        ),
    ]
)


def published(name: str, family: str) -> Release:
    """Look up released weights by name.

    Raises:
        ConfigError: the name is unknown, or belongs to another family.
    """
    own = [entry.name for entry in RELEASES.values() if entry.family == family]
    entry = RELEASES.get(name)
    if entry is None:
        raise ConfigError(f"There are no published weights {name!r} of {family}; known are {', '.join(own)}.")
    if entry.family != family:
        raise ConfigError(
            f"The published weights {name} belong to {entry.family}; run: sim2street import {entry.family} ..."
        )
    return entry
