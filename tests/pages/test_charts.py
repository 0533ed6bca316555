"""Plots are drawn to scale, inside their frame, and say their figures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from returns_service.web.pages.charts import BASE, TOP, Point, draw_bars, draw_meters, draw_ranges, round_step, shorten

VALUES = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=400)


@given(VALUES, st.floats(0, 100))
def test_bars_stay_in_their_frame_and_keep_their_order(values: list[float | None], alert: float) -> None:
    points = [Point(value, "1 Nov", "x %", "1 Nov: x %") for value in values]
    chart = draw_bars(points, alert, "Alert line")
    assert len(chart.bars) == sum(value is not None for value in values)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= 100
        assert TOP <= bar.y <= BASE
        assert abs(bar.y + bar.height - BASE) < 0.11
    known = [value for value in values if value is not None]
    heights = [bar.height for bar in chart.bars]
    assert [heights[n] for n in sorted(range(len(known)), key=known.__getitem__)] == sorted(heights)
    assert TOP <= chart.alert_y <= BASE
    assert 1 <= len(chart.scale) <= 4
    assert all(0 <= words.x <= 100 for words in chart.words)


def test_the_alert_line_stands_where_a_bar_of_its_height_ends() -> None:
    chart = draw_bars([Point(5.0, "a", "5 %", "a"), Point(10.0, "b", "10 %", "b", "over")], 5.0, "Alert line 5 %")
    assert chart.alert_y == chart.bars[0].y
    assert [words.text for words in chart.words if words.kind == "alert-text"] == ["10 %"]


def test_one_wild_day_does_not_flatten_the_others() -> None:
    points = [Point(2.0, "a", "2 %", "a"), Point(900.0, "b", "900 %", "b", "over")]
    chart = draw_bars(points, 5.0, "Alert line 5 %")
    assert chart.bars[0].height > 10
    assert chart.bars[1].y == TOP
    assert "900 %" in [words.text for words in chart.words]


@given(st.floats(0.001, 1e9), st.integers(2, 6))
def test_steps_are_round_and_few(greatest: float, steps: int) -> None:
    step = round_step(greatest, steps)
    assert step * steps >= greatest * 0.99
    assert f"{step:e}"[0] in "125"


def test_meters_are_held_against_the_greatest() -> None:
    chart = draw_meters([("a", "50", 50, ""), ("b", "200", 200, "over"), ("c", "0", 0, "")])
    assert [row.width for row in chart.rows] == [25.0, 100.0, 0.0]
    assert draw_meters([("a", "0", 0, "")]).rows[0].width == 0
    assert len(shorten("x" * 80)) <= 26


@given(st.lists(st.none() | st.tuples(st.floats(0, 400), st.floats(0, 400)).map(sorted).map(tuple), min_size=1))
def test_ranges_stay_in_their_frame(pairs: list[tuple[float, float] | None]) -> None:
    chart = draw_ranges([("2–8 Nov", pair) for pair in pairs])
    for row, pair in zip(chart.rows, pairs, strict=True):
        assert (row.low is None) == (pair is None)
        assert row.low is None or (row.high is not None and 0 <= row.low <= row.high <= 100)
    assert chart.scale[0] == (0.0, "0")
    assert chart.scale[-1][0] == 100.0
    assert len(chart.scale) <= 7
