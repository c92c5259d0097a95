from __future__ import annotations

import pytest

from qkb.records.model import Venue
from qkb.scaffold.venues import term, unknown

VENUES = {
    "NeurIPS": Venue(name="Advances in Neural Information Processing Systems", kinds=("conference",), description="x",
                     aliases=("NIPS",)),
    "CVPR": Venue(name="Conference on Computer Vision and Pattern Recognition", kinds=("conference",), description="x"),
    "CVPR Workshop": Venue(name="Conference on Computer Vision and Pattern Recognition Workshops", kinds=("workshop",),
                           description="x", aliases=("CVPRW",)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("NIPS", "NeurIPS"), ("nips 2016", "NeurIPS"), ("NIPS'16", "NeurIPS"), ("Something – CVPR 2018", "CVPR"),
        ("2018 IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", "CVPR"),
        ("CVPR Workshops", "CVPR Workshop"), ("2019 Workshops of Vision (CVPRW)", "CVPR Workshop"),
        ("NIPS Workshop", "NIPS Workshop"), ("Made-up Letters", "Made-up Letters"), ("", ""),
    ],
)  # fmt: skip
def test_terms(printed: str, found: str) -> None:
    assert term(printed, VENUES) == found


def test_unknown_venues_are_named_with_the_nearest() -> None:
    assert unknown("CVPR", VENUES) == ""
    assert unknown("", VENUES) == ""
    assert "write NeurIPS if that is it" in unknown("NeurlPS", VENUES)
    assert "write CVPR Workshop if that is it" in unknown("CVPRWS 2018", VENUES)
    assert unknown("Made-up Letters", VENUES).endswith("venues.yaml: describe it there")
