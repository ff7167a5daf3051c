"""The pages as a person sees them: in a browser, at the width of a desk, of the dashboard's frame and of a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import needs_browser, open_browser
from test_reports import FIVE, FakeDataset, backbone_info, candidate, classifier_info, evaluated, images_of

from diascope.checks import Finding
from diascope.promotion import Decision
from diascope.reports import (
    backbone_page,
    candidate_page,
    classifier_page,
    data_page,
    evaluation_page,
    features_page,
    groups_page,
    report_page,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser

DESK, FRAME, PHONE = (1000, 800), (895, 384), (390, 844)  # the frame is the dashboard's, in a window of 1500 by 950
LONG = ["adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma"]
# Where the figures stand that one opens a page for.
KEY = {
    "backbone": ".cards .big",
    "candidate": ".scroll:nth-of-type(1) tbody tr:first-child td",
    "classifier": "h2 + .cards .big >> nth=0",
    "data": ".cards .big",
    "evaluation": ".cards .big >> nth=0",
    "features": "h1 + p",
    "groups": ".cards .big",
    "report": ".verdict",
}
WIDER_THAN_THE_WINDOW = """() => [...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 100))"""
TEXT_OUTSIDE_ITS_PLOT = """() => [...document.querySelectorAll("svg text")].filter(text => {
    const [a, b] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()]
    return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1)
}).map(text => text.textContent)"""


def everything() -> dict[str, str]:
    """One page of each kind, with long names, many mistakes and findings of several kinds."""
    evaluation, predictions = evaluated(LONG)
    candidates = [
        candidate("a_candidate_whose_name_is_forty_letters_xx"),
        candidate(axis="epoch", description=", ".join(f"block_{i}_expand_relu" for i in range(9))),
        evaluation.winner,
    ]
    evaluation = evaluation.model_copy(update={"candidates": candidates})
    images = images_of(evaluation)
    findings = [
        Finding(kind="unreadable", files=["a_" * 60 + ".png"], action="dropped", detail="It is cut off.", n_dropped=1),
        Finding(
            kind="near_duplicates", files=["normal/001.png", "normal/011.png"], action="kept", detail="Alike.",
            split="test",
        ),
    ]  # fmt: skip
    dataset = FakeDataset(LONG, findings, source="/a/rather/long/path/" * 6)
    reason = "Not promoted: it is worse than version 2, in production (difference in AUROC -0.021, on 120 test images)."
    decision = Decision(promoted=False, case="worse", reason=reason)
    rng = np.random.default_rng(0)
    return {
        "backbone": backbone_page(backbone_info()),
        "candidate": candidate_page(candidates[1]),
        "classifier": classifier_page(classifier_info(LONG)),
        "data": data_page(dataset),
        "evaluation": evaluation_page(evaluation, predictions, images),
        "features": features_page(rng.normal(size=(60, 8)), LONG * 15, ["train", "test"] * 30, {"layers": LONG * 9}),
        "groups": groups_page({f"{'folder/' * 20}{i}.png": f"alike:{i // 3}" for i in range(90)}),
        "report": report_page(evaluation, predictions, images, dataset, decision, "lung version 3"),
        "two": evaluation_page(*evaluated(["no", "yes"]), {}),
        "five": evaluation_page(*evaluated(FIVE), {}),
    }


class Opened:
    """A page in a window of its own, with what it said and asked for since it was opened."""

    def __init__(self, page: "Page", file: Path) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(file.as_uri())


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Opened]]:
    """All pages, each in its window."""
    folder = tmp_path_factory.mktemp("pages")
    with open_browser() as browser:
        opened = {}
        for name, page in everything().items():
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
            opened[name] = Opened(browser.new_page(), folder / f"{name}.html")
        yield opened


@pytest.fixture
def opened(windows, request) -> Opened:
    name, (width, height) = request.param
    window = windows[name]
    window.page.set_viewport_size({"width": width, "height": height})
    return window


def each(names, *sizes):
    cases = [(name, size) for name in names for size in sizes]
    return pytest.mark.parametrize("opened", cases, indirect=True, ids=[f"{name}-{w}" for name, (w, _) in cases])


@each([*KEY, "two", "five"], DESK, PHONE)
def test_a_page_fits_and_stands_alone(opened):
    page = opened.page
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(WIDER_THAN_THE_WINDOW) == []
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.dataset.was = e.open; e.open = true })")
    assert page.evaluate(WIDER_THAN_THE_WINDOW) == []
    assert page.evaluate(TEXT_OUTSIDE_ITS_PLOT) == []
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = e.dataset.was === 'true')")
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0


@each(KEY, FRAME, PHONE)
def test_the_figures_that_matter_are_seen_without_scrolling(opened, request):
    name, (width, height) = request.node.callspec.params["opened"]
    figures = opened.page.locator(KEY[name])
    assert figures.count()
    for figure in figures.all():
        box = figure.bounding_box()
        assert box
        assert box["width"] > 0 <= box["x"]
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height, figure.inner_text()


@each(["data", "evaluation", "report"], DESK)
def test_images_are_shown_large_enough_to_be_looked_at(opened):
    sides = opened.page.evaluate("[...document.images].map(image => [image.width, image.height])")
    assert len(sides) >= 24
    assert min(map(min, sides)) >= 100  # the files are 40 by 30 pixels


@each(["candidate", "evaluation"], PHONE)
def test_names_of_rows_stay_in_sight_where_a_table_is_wider_than_a_phone(opened):
    page = opened.page
    wide = page.locator(".scroll:has(tbody th)").filter(visible=True)
    seen = [
        table.evaluate("e => { e.scrollLeft = 1e6; return [e.scrollLeft, e.querySelector('tbody th').offsetLeft, "
                       "e.querySelector('tbody th').getBoundingClientRect().left] }")
        for table in wide.all()
    ]  # fmt: skip
    assert seen
    assert all(0 <= left < 40 for _, _, left in seen)


@each(["report"], DESK)
def test_print_unfolds_what_is_folded_and_cuts_no_image_in_two(opened):
    page = opened.page
    seen = "[...document.querySelectorAll('details:not([open]) table')].map(table => table.checkVisibility())"
    assert not any(page.evaluate(seen))
    page.emulate_media(media="print")
    assert all(page.evaluate(seen))
    kept = "[...document.querySelectorAll('.picture')].every(e => getComputedStyle(e).breakInside === 'avoid')"
    assert page.evaluate(kept)
    page.emulate_media(media="screen")
