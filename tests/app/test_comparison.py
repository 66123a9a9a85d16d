from __future__ import annotations

from pathlib import Path

from app.comparison import suited
from models.checkpoint import Checkpoint
from tests.app.conftest import save_tiny


def test_a_page_begins_with_what_was_adapted_to_its_kind_of_picture(tmp_path: Path) -> None:
    plain, fog, real = (
        Checkpoint.open(save_tiny(tmp_path, name, method, name, target=target))
        for name, method, target in (
            ("plain", "source_only", None),
            ("fog", "advent", "street_scenes/fog"),
            ("real", "daformer", "camvid/train"),
        )
    )
    assert suited([plain, fog, real], rendered=True) == [plain, fog]
    assert suited([plain, fog, real], rendered=False) == [plain, real]
    assert suited([plain, fog], rendered=False) == [plain, fog], "none is adapted to photos"
    assert suited([], rendered=True) == []
