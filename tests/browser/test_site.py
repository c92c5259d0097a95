"""The site as a reader meets it, in Chromium: search, facets, a paper's page, a phone, dark colours, the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.browser, pytest.mark.slow]

T = TypeVar("T")
PAGES = (
    "", "years/", "years/2016/", "topics/", "topics/ternary/", "tags/bnn/", "lists/", "lists/quantization/",
    "implementations/", "vocabulary/", "papers/xnor-net/", "papers/bnn/", "search/?q=popcount", "design/",
    "contributing/", "cli/", "fpga/", "fpga/mlp/bnn/", "families/binary/",
)  # fmt: skip
XNOR = "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks"
BOX = "#qkb-search-input"
RESULTS = "ol.qkb-results li > a"


class Visit:
    """A browser on the site."""

    def __init__(self, chrome: Chrome, address: str) -> None:
        self.chrome, self.address = chrome, address

    def open(self, path: str = "", width: int = 1280) -> None:
        """Open a page in a window, or on a phone, of this width."""
        metrics = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 600}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.chrome.get(self.address + path)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return its value."""
        return self.chrome.execute_script(script, *arguments)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
        return [str(text) for text in self.run(script, selector)]

    def until(self, condition: Callable[[], T]) -> T:
        """Wait until a condition holds and return its value."""
        wait = WebDriverWait(self.chrome, 15, 0.05, [StaleElementReferenceException, IndexError])
        return wait.until(lambda _: condition())

    def click(self, selector: str) -> None:
        """Click an element, waiting for it."""
        self.until(lambda: self.chrome.find_elements(By.CSS_SELECTOR, selector)[0]).click()

    def type(self, *keys: str) -> None:
        """Type where the focus is."""
        ActionChains(self.chrome).send_keys(*keys).perform()

    def focused(self) -> str:
        """Return the id or the name of the element that has the focus."""
        return str(self.run("return document.activeElement.id || document.activeElement.name || ''"))

    def colour(self) -> str:
        """Return the colour of the page's ground."""
        return str(self.run("return getComputedStyle(document.body).backgroundColor"))

    def complaints(self) -> list[str]:
        """Return what the console complained of since the last call."""
        entries = self.chrome.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]

    def prefer(self, scheme: str) -> None:
        """Let the system ask for light or dark colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def visit(chromium: Chrome, address: str) -> Iterator[Visit]:
    """A visit that leaves no trace for the next one, and during which the console has to stay silent."""
    found = Visit(chromium, address)
    found.prefer("light")
    yield found
    complaints = found.complaints()
    found.run("localStorage.clear()")
    assert complaints == []


def facet(name: str, value: str) -> str:
    return f'details[data-facet="{name}"] label:has(input[value="{value}"])'


def test_the_search_page_finds_a_paper_by_its_title(visit: Visit) -> None:
    visit.open("search/?q=xnor-net")
    assert visit.until(lambda: visit.texts(RESULTS))[0] == XNOR
    assert visit.texts(".qkb-result-facts")[0] == "Rastegari et al. · ECCV 2016"
    visit.click(RESULTS)
    assert visit.until(lambda: visit.texts("h1")[0].removesuffix("#")) == XNOR


@pytest.mark.parametrize("query", ["Courbariaux", "popcount", "1511.00363", "BinaryNet"])
def test_authors_notes_numbers_and_aliases_are_found(visit: Visit, query: str) -> None:
    visit.open(f"search/?q={query}")
    assert visit.until(lambda: visit.texts(RESULTS))
    assert "Nothing contains" not in visit.texts(".qkb-search-status")[0]


def test_an_unknown_word_is_said_to_be_unknown(visit: Visit) -> None:
    visit.open("search/?q=straightthroughx")
    visit.until(lambda: visit.texts(".qkb-search-status")[0])
    status = visit.texts(".qkb-search-status")[0]
    assert status.startswith("Nothing contains “straightthroughx”.") or status == "0 pages"


def test_a_facet_narrows_and_another_value_widens(visit: Visit) -> None:
    visit.open("search/?q=binary")
    visit.until(lambda: visit.texts(RESULTS))

    def count() -> int:
        return int(visit.texts(".qkb-search-status")[0].split()[0])

    everything = count()
    visit.click(facet("year", "2016"))
    visit.until(lambda: count() < everything)
    in_2016 = count()
    shown = int(visit.texts(f"{facet('year', '2016')} small")[0])
    assert shown == in_2016
    assert all(text.endswith("2016") for text in visit.texts(".qkb-result-facts"))
    of_2017 = int(visit.texts(f"{facet('year', '2017')} small")[0])
    visit.click(facet("year", "2017"))
    visit.until(lambda: count() == in_2016 + of_2017)
    assert "year=2016&year=2017" in visit.chrome.current_url
    visit.chrome.refresh()
    visit.until(lambda: visit.texts(RESULTS))
    assert count() == in_2016 + of_2017
    visit.click(".qkb-search-chips button")
    visit.until(lambda: count() == of_2017)


def test_the_plot_leads_to_a_design_by_keyboard_and_drawings_scroll_in_their_box(visit: Visit) -> None:
    visit.open("fpga/", 390)
    if not visit.texts(".qkb-wide svg a"):
        pytest.skip("no hardware result is accepted yet")
    box = "document.querySelector('.qkb-wide figure')"
    assert visit.run(f"return {box}.scrollWidth > {box}.clientWidth && {box}.tabIndex === 0")
    visit.run("document.querySelector('.qkb-wide svg a').focus()")
    visit.type(Keys.ENTER)
    visit.until(lambda: "/fpga/mlp/" in visit.chrome.current_url)
    assert visit.run("return document.documentElement.scrollWidth") <= 390
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display !== 'none'"
    assert [visit.run(shown, name) for name in (".qkb-slim", ".qkb-broad")] == [True, False]


def test_facets_work_without_a_word(visit: Visit) -> None:
    visit.open("search/?implementation=runs&tag=Binarized neural networks&year=2016")
    assert XNOR in visit.until(lambda: visit.texts(RESULTS))
    assert visit.run("return document.querySelectorAll('.qkb-facet input:checked').length") == 3


def test_the_box_in_the_header_leads_to_a_paper_by_keyboard(visit: Visit) -> None:
    visit.open("design/")
    visit.type("/")
    assert visit.focused() == "qkb-search-input"
    visit.type("xnor-net")
    visit.until(lambda: XNOR in "".join(visit.texts(".qkb-search__results [role=option]")))
    visit.type(Keys.ARROW_DOWN, Keys.ENTER)
    visit.until(lambda: "/papers/xnor-net/" in visit.chrome.current_url)


def test_enter_goes_to_the_search_page_and_escape_closes(visit: Visit) -> None:
    visit.open("design/")
    ActionChains(visit.chrome).key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    assert visit.focused() == "qkb-search-input"
    visit.type("ternary")
    visit.until(lambda: visit.texts(".qkb-search__results [role=option]"))
    visit.type(Keys.ESCAPE)
    assert not visit.run("return document.querySelector('.qkb-search__results').checkVisibility()")
    visit.click(BOX)
    visit.type(Keys.ENTER)
    visit.until(lambda: "/search/?q=ternary" in visit.chrome.current_url)
    assert visit.until(lambda: visit.texts(RESULTS))


def test_a_slash_while_typing_is_a_slash(visit: Visit) -> None:
    visit.open("search/?q=a")
    visit.click("#qkb-search-page input[type=search]")
    visit.type(Keys.END, "/")
    assert visit.run("return document.querySelector('#qkb-search-page input').value") == "a/"


def test_a_paper_shows_claims_measurements_and_code(visit: Visit) -> None:
    visit.open("papers/xnor-net/")
    heads = ("Notes", "Claims", "On the FPGA", "Method", "Code", "Related", "Cite")
    assert visit.texts("h2") == [f"{name}#" for name in heads]
    assert visit.texts(".qkb-claims th") == ["The paper says", "Where", "We measured", "Verdict"]
    verdicts = set(visit.texts(".qkb-claims td:last-child"))
    assert verdicts & {"reproduced", "not reproduced", "inconclusive"}
    assert verdicts <= {"reproduced", "not reproduced", "inconclusive", "not measured"}
    assert visit.run("return document.querySelectorAll('.qkb-figures svg title').length") > 0
    assert "def reproduce(" in visit.texts(".qkb-source code")[0]
    assert visit.texts("code.language-bibtex, .language-bibtex code")[0].startswith("@inproceedings{xnor-net,")
    assert visit.run("return document.querySelectorAll('.md-clipboard, .md-code__button').length") >= 3


@pytest.mark.parametrize("path", PAGES)
def test_no_page_scrolls_sideways_on_a_phone(visit: Visit, path: str) -> None:
    visit.open(path, width=390)
    visit.until(lambda: visit.run("return document.readyState") == "complete")
    assert visit.run("return document.documentElement.scrollWidth") <= 390
    assert visit.run("return document.querySelector('.qkb-search').checkVisibility()") is False


def test_on_a_phone_the_search_is_a_page(visit: Visit) -> None:
    visit.open("papers/bnn/", width=390)
    visit.click(".qkb-search-link")
    visit.until(lambda: visit.chrome.current_url.endswith("/search/"))
    visit.until(lambda: visit.run("return document.readyState") == "complete")
    assert visit.run("return document.title").startswith("Search")


def test_colours_follow_the_system_and_then_the_reader(visit: Visit) -> None:
    visit.open()
    light = visit.colour()
    visit.prefer("dark")
    visit.open()
    dark = visit.colour()
    assert dark != light
    visit.click("[data-md-component=palette] label:not([hidden])")
    visit.until(lambda: visit.colour() == light)
    visit.open("papers/bnn/")
    assert visit.colour() == light
    visit.click("[data-md-component=palette] label:not([hidden])")
    visit.until(lambda: visit.colour() == dark)


def test_tables_filter_and_sort(visit: Visit) -> None:
    visit.open("years/")
    rows = len(visit.texts("tbody tr"))
    visit.click("[data-qkb-filter] input")
    visit.type("2016 bnn")
    visible = "tbody tr:not([hidden])"
    assert 0 < len(visit.texts(visible)) < rows
    assert all("2016" in text and "bnn" in text for text in visit.texts(visible))
    assert visit.texts("[data-qkb-filter] [role=status]") == [f"{len(visit.texts(visible))} of {rows}"]
    visit.open("tags/bnn/")
    years = visit.texts("tbody td:nth-child(3)")
    visit.click("thead th:nth-child(3) button")
    assert visit.texts("tbody td:nth-child(3)") == sorted(years)
    visit.click("thead th:nth-child(3) button")
    assert visit.texts("tbody td:nth-child(3)") == sorted(years, reverse=True)
    assert visit.run("return document.querySelector('thead th:nth-child(3)').ariaSort") == "descending"


def test_without_javascript_the_tables_and_papers_are_there(visit: Visit) -> None:
    visit.chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit.open("search/")
        notice = visit.chrome.find_element(By.ID, "qkb-search-page").text
        visit.open("years/")
        rows = len(visit.chrome.find_elements(By.CSS_SELECTOR, "tbody tr"))
        visit.open("papers/xnor-net/")
        title = visit.chrome.find_element(By.TAG_NAME, "h1").text
    finally:
        visit.chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert notice.startswith("The search needs JavaScript.")
    assert rows >= 84
    assert title.startswith(XNOR)


def test_a_script_that_got_in_would_not_run(visit: Visit) -> None:
    visit.open()
    visit.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=/assets/none.png onerror=\"document.title = 1\">')"
    )
    visit.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 2'; document.body.append(s)"
    )
    assert any("Content Security Policy" in message for message in visit.complaints())
    assert visit.chrome.title not in {"1", "2"}
