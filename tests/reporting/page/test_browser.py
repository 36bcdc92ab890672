"""The page in headless Chromium: it draws, its controls work, it fetches nothing, and it reads well anywhere."""

import itertools
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bench.efficiency.records import Record
from bench.reporting.efficiency.history import History
from bench.reporting.page.accuracy import read
from bench.reporting.page.write import write_page
from tests.reporting.page.conftest import TABLE

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[test]'")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

RESET = "for (const form of document.forms) { form.reset(); form.dispatchEvent(new Event('change')); }"
SHOWN = "() => document.getElementById('curves-0').data.filter(each => each.visible).map(each => each.meta)"
LAYOUT = "() => { const {xaxis, yaxis} = document.getElementById('curves-0').layout; return [xaxis, yaxis]; }"
COLUMN = "table => [...table.tBodies[0].rows].map(row => Number(row.cells[3].dataset.number))"
CONTRAST = """() => {
  const luminance = (colour) => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((each) => each / 255);
    const [red, green, blue] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const back = luminance(getComputedStyle(document.body).backgroundColor);
  const texts = [...document.querySelectorAll("#curves-0 .xtick text, #curves-0 .ytitle")];
  return texts.map((text) => luminance(getComputedStyle(text).fill))
    .map((text) => (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05));
}"""


@pytest.fixture(scope="module")
def opened(records: Sequence[Record], history: History, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield the open page. Whatever the tests do, it fetches nothing and logs no error."""
    path = write_page(records, tmp_path_factory.mktemp("page"), folders=(), scores=[read(TABLE)], history=history)
    assert path.stat().st_size < 6e6
    requests: list[str] = []
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        yield page
        browser.close()
    assert [each for each in requests if not each.startswith("data:")] == [path.as_uri()]
    assert not complaints


@pytest.fixture
def page(opened: Any) -> Any:
    """Return the page as it opens on a wide screen."""
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.evaluate(RESET)
    opened.wait_for_selector("#curves-0 .points path")
    return opened


def test_it_draws_every_case_and_its_record(page: Any, records: Sequence[Record]) -> None:
    data = page.evaluate(
        "() => document.getElementById('curves-0').data.map(({x, y, hovertext}) => ({x, y, hovertext}))"
    )
    drawn = {
        (line.split("<br>")[0], y) for trace in data for line, y in zip(trace["hovertext"], trace["y"], strict=True)
    }
    assert {(each.case.label, each.gpu_ms) for each in records if each.gpu_ms} <= drawn
    texts = [text for trace in data for text in trace["hovertext"]]
    assert any("kda/fla at 100 s" in text and "80 samples" in text and "converged: no" in text for text in texts)
    assert any("sa/eager at 400 s" in text and "CUDA out of memory" in text for text in texts)


def test_no_button_uploads_a_chart(page: Any) -> None:
    titles = page.evaluate("[...document.querySelectorAll('#curves-0 .modebar-btn')].map(each => each.dataset.title)")
    assert titles == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]


def test_the_controls_choose_what_is_drawn(page: Any) -> None:
    form = page.locator("form[data-plot=curves-0]")
    assert {each["choice"] for each in page.evaluate(SHOWN)} == {"GPU time"}
    form.get_by_label("peak memory").check()
    form.get_by_label("sa/eager").uncheck()
    form.get_by_label("linear").check()
    shown = page.evaluate(SHOWN)
    assert {each["choice"] for each in shown} == {"peak memory"}
    assert len(shown) == 6
    assert "sa/eager" not in {each["curve"] for each in shown}
    x, y = page.evaluate(LAYOUT)
    assert (x["type"], y["type"], y["title"]["text"]) == ("linear", "linear", "peak memory (GiB)")
    assert page.locator("#curves-0 .ytitle").text_content() == "peak memory (GiB)"


def test_a_change_is_named_in_the_chart_of_the_sweeps(page: Any) -> None:
    assert page.locator("#changes .textpoint").all_text_contents().count("slower") == 1
    page.locator("form[data-plot=changes]").get_by_label("linear").check()
    axes = page.evaluate("() => { const {xaxis, yaxis} = changes.layout; return [xaxis.type, yaxis.type]; }")
    assert axes == ["category", "linear"]


def test_a_table_is_sorted_by_the_head_of_a_column(page: Any) -> None:
    table = page.locator("table", has_text="real-time factor").first
    head = table.get_by_role("columnheader", name="GPU time (ms)")
    for order in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        figures = table.evaluate(COLUMN)
        assert figures == sorted(figures, reverse=order == "descending")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_and_in_the_dark(page: Any, scheme: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    while page.locator("#curves-0 .main-svg").first.bounding_box()["width"] > 400:  # it is drawn again soon
        page.wait_for_timeout(20)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    contrasts = page.evaluate(CONTRAST)
    assert len(contrasts) > 3
    assert min(contrasts) > 7


def test_its_structure_can_be_heard(page: Any) -> None:
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("[role=img]:not([aria-label])").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("label:not(:has(input))").count() == 0
