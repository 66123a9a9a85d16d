"""VFM-UDA (Englert et al., CVPRW 2024): a Lightning file of https://github.com/tue-mps/vfm-uda.

The student, which is evaluated, is under `network.` and the teacher under `network_ema.`. The encoder has DINOv2's own
names, which are also timm's.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.family import IMAGENET_STATISTICS, Family, Plan, Weights, has
from sim2street.models.importers.keys import LeftOut, Translation, rename_by
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

STUDENT: Final = "network."
TRAINING_ONLY: Final = {
    "network_ema.": "teacher (network_ema)",
    "network_feature_extractor.": "network of the feature distance (network_feature_extractor)",
}
ENCODERS: Final = {384: "small", 768: "base", 1024: "large"}
"""Size of DINOv2 by the width of its tokens."""
WINDOW: Final = Window(
    short_side=1024, crop=(1024, 1024), stride=(512, 512), resampling="pillow_bilinear", averaging="probabilities"
)
PROTOCOL: Final = Protocol(
    size=(2048, 1024),
    normalisation=IMAGENET_STATISTICS,
    align_corners=False,
    inference="windows of 1024x1024 every 512 pixels, each enlarged to 1120x1120; the authors ran it in 16 bit",
    averaging="probabilities of overlapping windows",
    weights="student, step 40000",
)
MASK_TOKEN: Final = "encoder.mask_token"

_rename = rename_by(
    {
        r"encoder(\..+)?": r"encoder.net\1",
        r"upscale\.[0-6]": r"head.\g<0>",
        "out": "head.classify",
        "token_masking": LeftOut("the mask token a second time"),
    }
)


def rename(key: str) -> Translation:
    """The student's key, without its prefix, -> ours."""
    return key if key == MASK_TOKEN else _rename(key)


def student_of(weights: Weights) -> tuple[Weights, Counter[str]]:
    """Extract the student without its prefix, and count the tensors that only training needs."""
    reasons = {key: reason for key in weights for start, reason in TRAINING_ONLY.items() if key.startswith(start)}
    student = {key.removeprefix(STUDENT): value for key, value in weights.items() if key not in reasons}
    if reasons and not student:
        raise CheckpointError(
            f"The file contains {', '.join(sorted(set(reasons.values())))} but not the student (network.*), which is evaluated."
        )
    return student, Counter(reasons.values())


def recognises(weights: Weights) -> bool:
    """Whether a vision transformer has the head of two transposed convolutions."""
    student, _ = student_of(weights)
    return has(student, "encoder.blocks.0.", "upscale.0.weight", "out.weight")


def plan(weights: Weights) -> Plan:
    """Plan the import of the student, of any size."""
    student, left_out = student_of(weights)
    if has(student, "upscale.") and not has(student, "encoder.blocks.0."):
        raise CheckpointError(
            "The file contains the head without its encoder: it stores only differences to DINOv2. Import the complete file."
        )
    token = student.get("encoder.cls_token")
    width = token.shape[-1] if token is not None and token.ndim else 0
    if width not in ENCODERS:
        raise CheckpointError(
            f"Expected DINOv2 small, base or large (class tokens of {', '.join(map(str, ENCODERS))} numbers);"
            f" {f'this one has {width}' if width else 'the file lacks encoder.cls_token'}."
        )
    name = f"vit_{ENCODERS[width]}_patch14_dinov2"
    return Plan(
        title=f"VFM-UDA on DINOv2 {ENCODERS[width]}",
        network="vfm_uda",
        options={"encoder": name},
        weights=student,
        rename=rename,
        window=WINDOW,
        protocol=PROTOCOL,
        left_out=left_out,
    )


VFM_UDA: Final = Family(
    title="VFM-UDA",
    year=2024,
    method="vfm_uda",
    licence="MIT for the repository, which states none for the weights; their encoder derives from DINOv2, apache-2.0",
    page="https://github.com/tue-mps/vfm-uda",
    recognises=recognises,
    plan=plan,
    has_teacher=True,
    hub_files=("vfmuda_base_gta2city_771miou_step40000.ckpt", "vfmuda_large_gta2city_784miou_step40000.ckpt"),
)
