"""Boundary IoU against values counted by hand, and the files made of it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from sim2street.app.content.boundary import band_width, boundary_counts, boundary_iou
from sim2street.app.content.class_figures import as_csv, as_latex


def test_the_band_is_two_percent_of_the_diagonal() -> None:
    assert band_width((256, 512)) == 11
    assert band_width((8, 8)) == 1


def test_a_shifted_square_keeps_its_area_and_loses_its_outline() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 10:30] = 1
    shifted = np.roll(truth, 2, axis=1)
    intersection, union = boundary_counts(truth, shifted, 2)[:, 1]
    # Outlines one pixel wide, 76 pixels each; moved by two they share the upper and the lower edge without two ends.
    assert (intersection, union) == (2 * 18, 2 * 76 - 2 * 18)
    iou = (truth & shifted).sum() / (truth | shifted).sum()
    assert boundary_iou(boundary_counts(truth, shifted, 2))[1] == pytest.approx(36 / 116)
    assert iou > 0.8


def test_a_perfect_prediction_scores_one_and_an_absent_class_nothing() -> None:
    truth = np.zeros((16, 16), np.uint8)
    truth[:8] = 2
    assert boundary_iou(boundary_counts(truth, truth, 4)).tolist() == pytest.approx([1, np.nan, 1, np.nan], nan_ok=True)


def test_unscored_pixels_count_for_nothing() -> None:
    truth = np.zeros((16, 16), np.uint8)
    truth[:, 8:] = 255
    predicted = np.zeros((16, 16), np.uint8)
    predicted[:, 8:] = 1
    assert boundary_counts(truth, predicted, 2)[:, 1].tolist() == [0, 0]


ROWS = [
    {"Class": "road", "IoU": 81.257, "IoU, A_b & 50 %": None},
    {"Class": "Mean", "IoU": 81.257, "IoU, A_b & 50 %": None},
]


def test_the_csv_holds_every_row_and_leaves_unknown_figures_empty() -> None:
    assert next(iter(csv.DictReader(io.StringIO(as_csv(ROWS))))) == {
        "Class": "road",
        "IoU": "81.26",
        "IoU, A_b & 50 %": "",
    }


def test_the_latex_table_has_signs_of_minus_and_no_negative_zero() -> None:
    rows = [{"Class": "road", "Difference": -8.96}, {"Class": "Mean", "Difference": -0.04}]
    assert as_latex(rows).splitlines()[4:7] == [r"road & $-$9.0 \\", r"\midrule", r"Mean & 0.0 \\"]
    assert "road,-8.96" in as_csv(rows)


def test_the_latex_table_escapes_names() -> None:
    table = as_latex(ROWS).splitlines()
    assert table[0] == r"\begin{tabular}{lrr}"
    assert table[2] == r"Class & IoU & IoU, A\_b \& 50 \% \\"
    assert table[4] == r"road & 81.3 & -- \\"
    assert table[5] == r"\midrule"
