"""The pieces of plots: where they are put, and that words in them stay words."""

from __future__ import annotations

from truing.figures import svg
from truing.figures.scale import Scale


def test_a_plot_is_announced_by_its_title_and_description():
    drawn = svg.svg("plot", "Speed <b>", "one & two", [svg.line(0, 0, 100, 50, "grid")])
    assert "<title id=" in drawn
    assert "Speed &lt;b&gt;" in drawn
    assert "one &amp; two" in drawn
    assert '<line class="grid" x1="0%" y1="0%" x2="100%" y2="50%"/>' in drawn


def test_an_area_goes_along_the_top_and_back_along_the_bottom():
    assert 'points="0,10 50,20 50,80 0,90"' in svg.area([0, 50], [90, 80], [10, 20], "p")


def test_a_frame_labels_both_axes():
    drawn = "".join(svg.frame(Scale(0, 10), Scale(0, 1), "hours"))
    assert ">hours<" in drawn
    assert drawn.count('class="grid"') == 5
