"""The web page as people use it: in a browser, in front of the real service."""

import base64
import csv
import io
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import served
import tiny
from browser import needs_browser, open_browser
from PIL import Image
from pydicom.data import get_testdata_file
from test_card import card_of

from diascope import images
from diascope.card import Card
from diascope.checksums import write_checksums
from diascope.reports import card_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
pytestmark = needs_browser
expect = sync_api.expect
expect.set_options(timeout=45_000)  # on a busy machine a first answer takes seconds

WEB = Path(__file__).parents[1] / "web"
WARNING = "Research use only. Not a medical device."
CAUTION = "Where the network looked, not where the lesion is."


def picture(seed: int, label: int = 0) -> dict:
    return upload(f"scan {seed}.png", tiny.png(tiny.stripes(label, seed)))


def upload(name: str, data: bytes, kind: str = "image/png") -> dict:
    return {"name": name, "mimeType": kind, "buffer": data}


def saved(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


# The service


@pytest.fixture(scope="module")
def card() -> Card:
    return card_of(tiny.CLASSES)


@pytest.fixture(scope="module")
def home(tmp_path_factory, card) -> Path:
    """A BentoML home that holds a small classifier and a card with everything on it."""
    home = tmp_path_factory.mktemp("bentoml")
    packed = served.store(home, tiny.classifier(1.0).root)
    (packed / "card.json").write_text(card.model_dump_json(), "utf-8")
    (packed / "card.html").write_text(card_page(card), "utf-8")
    write_checksums(packed)
    return home


@pytest.fixture(scope="module")
def service(home) -> Iterator[str]:
    with served.served(home) as (client, _):
        yield address(client)


def address(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


# The browser


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with open_browser() as chromium:
        yield chromium


class Visit:
    """The page in a window of its own, and what it said and asked for."""

    def __init__(self, browser: "sync_api.Browser", address: str, **window: object) -> None:
        self.page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **window}).new_page()
        self.page.set_default_timeout(45_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{address}/")
        self.host = urlsplit(address).netloc

    def choose(self, *files: dict) -> None:
        self.page.set_input_files("#files", list(files))

    def rows(self) -> "sync_api.Locator":
        return self.page.locator("#list > li")

    def unexpected(self) -> list[str]:
        """Everything in the console except that an answer had an error's status, which Chromium always says."""
        return [text for text in self.said if not text.startswith("Failed to load resource")]

    def elsewhere(self) -> list[str]:
        own = [url for url in map(urlsplit, self.asked) if url.scheme not in ("blob", "data")]
        return [url.geturl() for url in own if url.netloc != self.host]


@pytest.fixture
def visit(browser, service, request) -> Iterator[Visit]:
    """The page, on a desk where nothing else is said; it asks no other host and raises no error, ever."""
    visit = Visit(browser, service, **getattr(request, "param", {}))
    yield visit
    assert visit.unexpected() == []
    assert visit.elsewhere() == []
    visit.page.context.close()


PHONE = {"viewport": {"width": 360, "height": 740}}


def asked_directly(page: "sync_api.Page", address: str, file: dict) -> dict:
    return page.request.post(f"{address}/predict", multipart={"image": file}).json()


def answer(**said: object) -> dict:
    plain = {
        "label": "across",
        "probability": 0.75,
        "probabilities": {"across": 0.75, "along": 0.25},
        "decision": "ok",
        "reason": "It is decided.",
        "threshold": None,
        "distance": None,
        "model": {"name": "lung-ct", "version": "3"},
        "milliseconds": 5.0,
    }
    return {**plain, **said}


# One image


def test_one_image_is_answered_in_full(visit, service, card):
    page = visit.page
    model = page.locator("#model")
    expect(model).to_contain_text("lung-ct version 3")
    expect(model).to_contain_text(f"n = {card.test.n} images, 95 % intervals")
    for given in card.test.figures[:3]:
        row = model.get_by_role("row", name=re.compile(f"^{given.name}"))
        expect(row).to_contain_text(f"{given.value:.3f} ({given.low:.3f} to {given.high:.3f})")
    visit.choose(picture(3))
    expect(page.locator(".body .label")).to_be_visible()
    truth = asked_directly(page, service, picture(3))
    assert page.locator(".body .label").inner_text() == truth["label"]
    ranked = sorted(truth["probabilities"].items(), key=lambda item: -item[1])
    assert page.locator(".bars .name").all_inner_texts() == [name for name, _ in ranked]
    figures = page.locator(".bars .figures").all_inner_texts()
    assert figures == [f"{p:.3f}" for _, p in ranked]
    widths = page.locator(".filled").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().width / e.parentElement.getBoundingClientRect().width)"
    )
    assert widths == [pytest.approx(p, abs=0.01) for _, p in ranked]
    words = {"ok": "Decided", "uncertain": "Uncertain", "out_of_distribution": "Out of distribution"}
    expect(page.locator(".verdict")).to_contain_text(words[truth["decision"]])
    expect(page.locator(".verdict")).to_contain_text(truth["reason"])
    expect(page.locator("#live")).to_contain_text(f"scan 3.png: {truth['label']}, ")
    expect(page.get_by_role("img", name="Picture scan 3.png")).to_be_visible()
    assert page.evaluate("document.querySelector('.picture').naturalWidth") == 48


def test_the_map_lies_on_the_picture_and_follows_slider_and_class(visit):
    page = visit.page
    visit.choose(picture(3))
    stage, drawn = page.locator(".stage"), page.locator("img.map")
    expect(drawn).to_have_js_property("naturalWidth", 48)
    expect(page.get_by_text(CAUTION, exact=True)).to_be_visible()
    assert drawn.bounding_box() == page.locator("img.picture").bounding_box()
    slider = page.get_by_role("slider", name="Overlay")
    seen = {}
    for strength in ("100", "0"):
        slider.fill(strength)
        expect(page.locator(".controls output")).to_have_text(f"{strength} %")
        seen[strength] = stage.screenshot()
    drawn.evaluate("map => map.hidden = true")
    assert seen["0"] == stage.screenshot() != seen["100"]
    drawn.evaluate("map => map.hidden = false")
    slider.fill("100")
    label = page.locator(".body .label").inner_text()
    other = next(name for name in tiny.CLASSES if name != label)
    choice = page.get_by_role("combobox", name="Activation map for")
    expect(choice).to_have_value(label)
    before = drawn.get_attribute("src")
    choice.select_option(other)
    expect(drawn).to_have_attribute("alt", f"Activation map for {other}. {CAUTION}")
    assert drawn.get_attribute("src") != before
    expect(drawn).to_have_js_property("complete", True)
    assert stage.screenshot() != seen["100"]
    choice.select_option(label)
    expect(drawn).to_have_attribute("src", before)  # kept, not asked for again
    assert sum("explain" in url for url in visit.asked) == 2


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("scan.tif", saved(tiny.stripes(0, 1), "TIFF")),
        ("CT_small.dcm", Path(get_testdata_file("CT_small.dcm")).read_bytes()),
        ("deep.png", saved(tiny.stripes(0, 1).astype(np.uint16) * 3, "PNG")),  # a browser would show it black
    ],
    ids=["TIFF", "DICOM", "16 bits"],
)
def test_what_a_browser_does_not_show_as_it_is_comes_from_the_server(visit, name, data):
    page = visit.page
    visit.choose(upload(name, data, ""))
    truth = images.decode(data)
    expect(page.locator(".picture")).to_have_js_property("naturalWidth", truth.width)
    red = page.evaluate("""() => {
        const picture = document.querySelector(".picture"), canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
        const context = canvas.getContext("2d");
        context.drawImage(picture, 0, 0);
        return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
    }""")
    assert (np.reshape(red, (truth.height, truth.width)) == np.asarray(truth)[..., 0]).all()


# Several images


def test_several_images_are_listed_counted_filtered_and_downloaded(visit):
    page = visit.page
    data = picture(1)["buffer"]
    visit.choose(
        picture(1),
        upload("=1+1.png", picture(2)["buffer"]),
        upload("notes, of today.txt", b"hello", "text/plain"),
        upload("cut.png", data[: len(data) // 2]),
        upload("empty.png", b""),
        picture(5, label=1),
    )
    expect(page.locator("#live")).to_contain_text("6 images: ")
    expect(page.locator("#live")).to_contain_text("3 failed.")
    names = page.locator(".row-name").all_inner_texts()
    assert names == ["scan 1.png", "=1+1.png", "notes, of today.txt", "cut.png", "empty.png", "scan 5.png"]
    failed = [row.get_attribute("data-state") == "failed" for row in visit.rows().all()]
    assert failed == [False, False, True, True, True, False]
    expect(visit.rows().nth(2)).to_contain_text("is not an image that can be read")
    expect(visit.rows().nth(3)).to_contain_text("damaged or incomplete")
    expect(visit.rows().nth(4)).to_contain_text("is empty")
    assert page.get_by_role("button", name="Try failed again").count() == 0  # it would fail again
    page.get_by_role("button", name="3 failed").click()
    assert [row.is_visible() for row in visit.rows().all()] == failed
    expect(page.get_by_role("button", name="3 failed")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    table = list(csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines()))
    assert [row["file"] for row in table] == [name.replace("=1", "'=1") for name in names]
    assert [bool(row["error"]) for row in table] == failed
    assert float(table[0]["probability of across"]) + float(table[0]["probability of along"]) == pytest.approx(1)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#results")).to_be_hidden()


def test_many_images_leave_the_page_and_the_server_responsive(visit):
    page = visit.page
    page.evaluate("""() => {
        const real = fetch;
        let flying = 0;
        window.most = 0;
        window.fetch = (...request) => {
            window.most = Math.max(window.most, ++flying);
            return real(...request).finally(() => flying--);
        };
    }""")
    visit.choose(*[picture(seed, seed % 2) for seed in range(60)])
    page.get_by_role("button", name="All").click(timeout=2000)
    expect(page.locator("#live")).to_contain_text("60 images: ")
    expect(page.locator("#live")).to_contain_text(" 0 failed.")
    assert page.evaluate("window.most") == 2


def test_stop_keeps_what_is_answered_and_the_rest_can_be_sent_later(visit):
    page = visit.page
    page.route("**/predict", lambda route: (time.sleep(0.1), route.continue_()))
    visit.choose(*[picture(seed) for seed in range(12)])
    expect(page.locator("#list .badge.failed, #list .badge.waiting")).not_to_have_count(12)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live")).to_contain_text("12 images: ")
    stopped = page.locator("#list > li[data-state=failed]").count()
    assert 0 < stopped < 12
    page.unroute("**/predict")
    page.get_by_role("button", name="Try failed again").click()
    expect(page.locator("#list > li[data-state=failed], #list > li[data-state=waiting]")).to_have_count(0)
    assert visit.rows().count() == 12


def test_dropped_and_pasted_files_are_taken(visit):
    encoded = base64.b64encode(picture(1)["buffer"]).decode()
    made = """([encoded, kind]) => {
        const bytes = Uint8Array.from(atob(encoded), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], `${kind}.png`, {type: "image/png"}));
        const options = {bubbles: true, cancelable: true};
        const event = kind === "paste" ? new ClipboardEvent(kind, {...options, clipboardData: data})
            : new DragEvent(kind, {...options, dataTransfer: data});
        document.querySelector("footer").dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        visit.page.evaluate(made, [encoded, kind])
    expect(visit.page.locator("#list .verdict")).to_have_count(2)
    assert sorted(visit.page.locator(".row-name").all_inner_texts()) == ["drop.png", "paste.png"]


# What may be said


DECISIONS = [("ok", "Decided"), ("uncertain", "Uncertain"), ("out_of_distribution", "Out of distribution")]


def answered_with(visit: Visit, said: dict) -> None:
    visit.page.route("**/predict", lambda route: route.fulfill(json=said))
    visit.choose(picture(1))
    expect(visit.rows().first.locator(".body .label")).to_be_visible()


def test_decisions_differ_by_more_than_their_colour(visit):
    page = visit.page
    looks = []
    for decision, words in DECISIONS:
        answered_with(visit, answer(decision=decision, reason=f"Because of {decision}."))
        verdict = page.locator(".verdict").first
        expect(verdict).to_contain_text(words)
        expect(verdict).to_contain_text(f"Because of {decision}.")
        expect(page.locator("#live")).to_contain_text(f"Decision: {words}. Because of {decision}.")
        drawn = verdict.locator("path").get_attribute("d")
        looks.append((drawn, verdict.evaluate("e => getComputedStyle(e).borderLeftStyle")))
        page.unroute("**/predict")
    assert len({drawn for drawn, _ in looks}) == len({line for _, line in looks}) == 3
    assert page.locator(".words.out_of_distribution .said").inner_text().startswith("Class, not to be relied on")


def test_threshold_and_distance_are_stated_where_there_are_any(visit):
    answered_with(visit, answer(threshold=0.412, distance=1.7, decision="out_of_distribution"))
    positive = visit.page.evaluate("fetch('model').then(r => r.json())")["decision"]["operating_point"][
        "positive_class"
    ]
    expect(visit.page.locator(".facts")).to_contain_text(f"0.412, on the probability of “{positive}”")
    track, mark = visit.page.locator(".track:has(.mark)").bounding_box(), visit.page.locator(".mark").bounding_box()
    assert mark["x"] + mark["width"] / 2 == pytest.approx(track["x"] + 0.412 * track["width"], abs=1)
    expect(visit.page.locator(".facts")).to_contain_text("1.70 (above 1 is out of distribution)")
    visit.page.get_by_role("button", name="Clear").click()
    visit.page.unroute("**/predict")
    answered_with(visit, answer())
    assert visit.page.locator(".facts").count() == 0


def test_probabilities_are_sorted_and_never_rounded_to_certainty(visit):
    answered_with(visit, answer(probability=0.99998, probabilities={"along": 0.00002, "across": 0.99998}))
    assert visit.page.locator(".bars .figures").all_inner_texts() == ["> 0.999", "< 0.001"]


HOSTILE = "<img src=x onerror=alert(1)>"


def test_text_from_files_and_server_is_never_html(visit):
    page = visit.page
    said = answer(label=HOSTILE, reason=HOSTILE, probabilities={HOSTILE: 0.75, "along": 0.25})
    page.route("**/predict", lambda route: route.fulfill(json=said))
    visit.choose(upload(f"{HOSTILE}.png", picture(1)["buffer"]))
    expect(page.locator(".row-name")).to_have_text(f"{HOSTILE}.png")
    expect(page.locator(".verdict p")).to_have_text(HOSTILE)
    expect(page.locator(".bars .name").first).to_have_text(HOSTILE)
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.fulfill(status=422, json={"error": HOSTILE}))
    visit.choose(picture(2))
    expect(page.locator("[data-state=failed] .verdict p")).to_have_text(HOSTILE)
    assert page.locator("img[src=x]").count() == 0


TWELVE = [f"{kind}_of_the_lung_{'with_a_rather_long_name' * 2}_{i}" for i, kind in enumerate(["adenocarcinoma"] * 12)]


@pytest.mark.parametrize("visit", [PHONE, {}], indirect=True, ids=["phone", "desk"])
def test_nothing_is_wider_than_the_window(visit):
    page = visit.page
    shares = dict(zip(TWELVE, np.linspace(0.16, 0.0067, 12).tolist(), strict=True))
    names = {"label": TWELVE[0], "probability": 0.16, "probabilities": shares}
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(wide) <= 0
    answered_with(visit, answer(**names, reason="So_many_letters_without_a_space" * 4))
    visit.choose(upload(f"{'long' * 30}.png", picture(1)["buffer"]), upload("b.txt", b"no"))
    page.unroute("**/predict")
    visit.choose(upload(f"{'long' * 30}.txt", b"not an image"), picture(4))
    expect(page.locator("#list .badge.waiting")).to_have_count(0)
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert page.evaluate(wide) <= 0
    expect(page.locator(".bars.long > li")).to_have_count(12)
    outside = """() => [...document.querySelectorAll("main *")].filter(e => e.checkVisibility())
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
    assert page.evaluate(outside) == []


@pytest.mark.parametrize("visit", [PHONE, {}], indirect=True, ids=["phone", "desk"])
def test_research_use_only_stays_in_sight(visit):
    page = visit.page
    visit.choose(*[picture(seed) for seed in range(12)])
    expect(page.locator("#list .badge.waiting")).to_have_count(0)
    warning = page.get_by_role("note")
    expect(warning).to_have_text(WARNING)
    for place in ("0", "document.body.scrollHeight / 2", "document.body.scrollHeight"):
        page.evaluate(f"scrollTo(0, {place})")
        box = warning.bounding_box()
        assert box
        assert box["y"] == 0
        assert box["height"] < 40
        hit = "document.elementFromPoint(innerWidth / 3, 10).textContent"
        assert page.evaluate(hit) == WARNING
    assert page.evaluate("scrollY") > 0


def test_a_model_without_a_map_is_shown_without_one(visit, card):
    page = visit.page
    told = json.loads(card.model_dump_json())
    sentence = told["explanation"]["text"] = "No map: this head is not linear."
    told["explanation"]["available"] = False
    page.route("**/model", lambda route: route.fulfill(json=told))
    page.reload()
    expect(page.locator("#model")).to_contain_text("version 3")
    visit.choose(picture(1))
    expect(page.get_by_text(sentence)).to_be_visible()
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.get_by_text(CAUTION, exact=True)).to_be_hidden()
    expect(page.locator(".picture")).to_have_js_property("naturalWidth", 48)
    assert not any("explain" in url for url in visit.asked)


@pytest.mark.parametrize("synthetic", [True, False])
def test_figures_of_drawn_images_are_not_taken_for_real_ones(visit, card, synthetic):
    told = json.loads(card.model_dump_json())
    told["data"]["synthetic"] = synthetic
    visit.page.route("**/model", partial(sync_api.Route.fulfill, json=told))
    visit.page.reload()
    expect(visit.page.locator("#model")).to_contain_text("version 3")
    expect(visit.page.get_by_text("these figures say nothing about medicine")).to_be_visible(visible=synthetic)


def test_what_a_model_cannot_tell_is_said(visit, card):
    page = visit.page
    meaning, confession = page.locator(".meaning"), page.get_by_text("This model cannot tell")
    for able in (True, False):
        told = json.loads(card.model_dump_json())
        told["decision"] |= {"familiarity": {"n": 9} if able else None, "abstention": {"low": 0.4} if able else None}
        page.route("**/model", partial(sync_api.Route.fulfill, json=told))
        page.reload()
        expect(page.locator("#model")).to_contain_text("version 3")
        for words in ("Uncertain", "Out of distribution", "resembles"):
            expect(meaning.get_by_text(words)).to_be_visible(visible=able)
        expect(confession).to_be_visible(visible=not able)
        page.unroute("**/model")


# When the server does not answer


def test_a_busy_server_is_asked_again(visit):
    page = visit.page
    refused = []

    def busy(route):
        if len(refused) == 2:
            return route.continue_()
        refused.append(time.monotonic())
        return route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "At capacity."})

    page.route("**/predict", busy)
    visit.choose(picture(1))
    expect(page.locator(".row-answer")).to_have_text("server busy, trying again")
    expect(page.locator(".body .label")).to_be_visible()
    assert len(refused) == 2
    assert refused[1] - refused[0] > 0.7


def test_errors_of_the_server_are_told_per_file(visit):
    page = visit.page
    page.route("**/predict", lambda route: route.fulfill(status=413, json={"error": "It has 40 MB, too many."}))
    visit.choose(picture(1))
    expect(page.locator(".verdict")).to_contain_text("It has 40 MB, too many.")
    expect(page.locator("#live")).to_have_text("scan 1.png: no answer. It has 40 MB, too many.")
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.fulfill(status=502, body="<html>proxy</html>"))
    visit.choose(picture(2))
    expect(page.locator(".verdict").first).to_contain_text("The server could not answer (status 502).")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.locator(".body .label")).to_be_visible()


def test_an_answer_that_cannot_be_read_spoils_no_other(visit):
    page = visit.page
    odd = iter([{"label": None}, answer(), [], answer()])
    page.route("**/predict", lambda route: route.fulfill(json=next(odd)))
    visit.choose(*[picture(seed) for seed in range(4)])
    expect(page.locator("#live")).to_contain_text("4 images: 2 decided, 0 uncertain, 0 out of distribution, 2 failed.")
    expect(visit.rows().filter(has_text="The server's answer cannot be read.")).to_have_count(2)


def test_what_failed_on_the_way_can_be_asked_for_again(visit):
    page = visit.page
    for path in ("**/model", "**/explain"):
        page.route(path, partial(sync_api.Route.fulfill, status=500, body=""))
    page.reload()
    expect(page.locator("#model")).to_contain_text("The server could not answer (status 500).")
    visit.choose(picture(1))
    expect(page.locator(".look")).to_contain_text("The server could not answer (status 500).")
    for path, name in (("**/model", "Ask again"), ("**/explain", "Try again")):
        page.unroute(path)
        page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#model")).to_contain_text("version 3")
    expect(page.locator("img.map")).to_have_js_property("naturalWidth", 48)


def test_a_key_is_asked_for_kept_nowhere_and_a_server_that_went_away_is_named(browser, home):
    with served.served(home, DIASCOPE_API_KEY="s3cret") as (client, process):
        visit = Visit(browser, address(client))
        page = visit.page
        visit.choose(picture(1), picture(2), picture(3))
        field = page.get_by_label("API key", exact=True)
        expect(field).to_be_focused()
        expect(page.get_by_role("alert")).to_have_text("This server asks for an API key.")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The server did not accept this key.")
        expect(field).to_be_focused()
        page.keyboard.type("s3cret")
        page.keyboard.press("Enter")
        expect(page.locator("#live")).to_contain_text(" 0 failed.")
        expect(field).to_be_hidden()
        visit.rows().nth(1).locator("summary").first.click()
        expect(page.locator("img.map")).to_have_js_property("naturalWidth", 48)
        assert page.evaluate("localStorage.length + document.cookie.length") == 0
        assert "s3cret" not in page.content() + " ".join(visit.asked)
        served.stop(process)
        visit.choose(picture(4))
        expect(page.locator(".verdict").first).to_contain_text("The server cannot be reached.")
        expect(page.get_by_role("button", name="Try again", exact=True)).to_be_visible()
        expect(page.locator("#list > li:not([data-state=failed])")).to_have_count(3)  # what was answered stays
        assert visit.unexpected() == []
        assert visit.elsewhere() == []
        page.context.close()


# For everybody


def test_everything_works_by_keyboard_alone(visit):
    page = visit.page
    # From the start: `expect_file_chooser` may come too late for the key that it waits for.
    page.on("filechooser", lambda chooser: chooser.set_files([picture(1), picture(2)]))
    expect(page.locator("#model")).to_contain_text("version 3")
    focused = "document.activeElement.id || document.activeElement.tagName.toLowerCase()"

    def tab_to(wanted: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(f"{wanted} cannot be reached; focus is on {page.evaluate(focused)}")

    tab_to("#files")
    outline = "e => getComputedStyle(e).outlineStyle"
    assert page.locator(".drop").evaluate(outline) == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_contain_text("2 images: ")
    tab_to("#list > li:nth-child(2) > details > summary")
    assert page.evaluate(f"({outline})(document.activeElement)") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#list > li:nth-child(2) .body .label")).to_be_visible()
    tab_to("select")
    label = page.get_by_role("combobox").input_value()
    first, second = tiny.CLASSES
    page.keyboard.press("ArrowDown" if label == first else "ArrowUp")
    expect(page.locator("img.map")).to_have_attribute(
        "alt", f"Activation map for {second if label == first else first}. {CAUTION}"
    )
    tab_to("input[type=range]")
    before = page.locator("output").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).not_to_have_text(before)
    assert (
        page.get_by_role("slider", name="Overlay").get_attribute("aria-valuetext")
        == page.locator("output").inner_text()
    )


CONTRASTS = """() => {
    const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => {
        for (; e; e = e.parentElement) {
            const colour = rgba(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const e of document.querySelectorAll("body *")) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.checkVisibility() || e.closest(":disabled, noscript, option")) continue;
        const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) low.push([contrast.toFixed(2), e.outerHTML.slice(0, 100)]);
    }
    return low;
}"""


@pytest.mark.parametrize(
    "visit", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=["light", "dark"]
)
def test_all_text_is_legible_in_both_modes(visit, request):
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5."""
    page = visit.page
    for decision, _ in DECISIONS:
        answered_with(visit, answer(decision=decision, threshold=0.4, distance=0.5))
        page.unroute("**/predict")
    visit.choose(upload("b.txt", b"no"))
    expect(page.locator("#list .badge.waiting")).to_have_count(0)
    page.evaluate("document.querySelectorAll('#list details').forEach(e => { e.open = true })")
    assert page.evaluate(CONTRASTS) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == ("dark" in request.node.name)


def test_print_shows_what_is_open_and_leaves_the_controls_out(visit):
    page = visit.page
    visit.choose(picture(1))
    expect(page.locator(".body .label")).to_be_visible()
    page.emulate_media(media="print")
    for hidden in (".drop", ".tools", "input[type=range]"):
        expect(page.locator(hidden).first).to_be_hidden()
    for shown in (".body .label", ".picture", ".warning", "#model"):
        expect(page.locator(shown)).to_be_visible()


def test_the_page_needs_nothing_that_a_strict_policy_forbids(visit):
    html, script = (WEB / "index.html").read_text(), (WEB / "page.js").read_text()
    policy = visit.page.request.get(visit.page.url).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=|javascript:", html) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|localStorage", script) == []
    found = re.findall(r"https?://[^\"'\s]+", html + script + (WEB / "page.css").read_text())
    assert set(found) <= {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_card_and_interface_are_one_click_away(visit):
    for name, path in (("Model card", "/card"), ("API documentation", "/docs")):
        with visit.page.context.expect_page() as opened:
            visit.page.get_by_role("link", name=name).click()
        opened.value.wait_for_load_state()
        assert urlsplit(opened.value.url).path == path
        assert visit.page.request.get(opened.value.url).ok
        opened.value.close()
