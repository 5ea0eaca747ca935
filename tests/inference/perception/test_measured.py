"""What a card's table of accuracy says in sentences."""

from inference.perception.manage import list_models
from inference.perception.measured import details, headlines


def test_shares_of_joints_beside_those_of_another_model() -> None:
    table = {
        "coco_measured": "long",
        "coco_pck_02": 0.3149,
        "coco_median_px": 25.13,
        "coco_pck_02_of_blazepose": 0.7735,
    }
    assert headlines(table) == ("COCO: 31% of joints right (blazepose 77%), median error 25 px",)
    assert details(table)[1] == "coco pck 02: 0.3149"


def test_millimetres_and_nothing_but_a_sentence() -> None:
    assert headlines({"parity": 1e-5, "one_view_middle_mm": 96}) == ("One view middle: 96 mm",)
    assert headlines({"measured": "on 64 held-out samples"}) == ("On 64 held-out samples",)
    assert headlines({"steps": 3}) == headlines({}) == ()


def test_never_a_wall() -> None:
    assert len(headlines({f"set_{number}_pck_02": 0.5 for number in range(40)})) == 6


def test_every_shipped_model_with_figures_says_them_in_short_lines() -> None:
    models = {model.name: headlines(model.accuracy) for model in list_models() if model.accuracy}
    assert "COCO: 31% of joints" in models["sightline_s"][0]
    assert all(lines and max(map(len, lines)) <= 100 for lines in models.values()), models
