"""The README of an imported checkpoint: its authors, its licence, and how they measured it."""

from __future__ import annotations

from sim2street.models.importers.family import Family
from sim2street.models.storage.checkpoint import CheckpointConfig


def card_of(config: CheckpointConfig, family: Family) -> str:
    """Write the card in Markdown."""
    record = config.imported
    assert record is not None
    protocol = record.protocol
    lines = [
        f"# {config.title}",
        "",
        f"Weights released by the authors of {family.title} ({family.page}), imported by Sim2Street with renamed tensors and"
        " otherwise unchanged. They belong to the authors; cite their paper.",
        "",
        f"- **Licence:** {config.licence}",
        f"- **Domains:** {config.source} → {config.target}",
        *(
            f"- **File:** `{file.name}`, sha256 `{file.sha256}`{f', {file.url}' if file.url else ''}"
            for file in record.files
        ),
        *(f"- **Left out:** {count} tensors: {reason}" for reason, count in record.left_out.items()),
    ]
    if record.reported_miou is not None:
        lines.append(f"- **Reported by the authors:** mIoU {record.reported_miou:.1f} (not measured here)")
    size = "any" if protocol.size is None else f"{protocol.size[0]}x{protocol.size[1]}"
    lines += [
        "",
        "The authors' evaluation protocol, which `sim2street evaluate` follows:",
        "",
        f"- input {size}, {protocol.normalisation}",
        f"- {protocol.inference}; corners {'aligned' if protocol.align_corners else 'not aligned'}",
        f"- averaging: {protocol.averaging}",
        f"- weights: {protocol.weights}",
        "",
    ]
    return "\n".join(lines)
