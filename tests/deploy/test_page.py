"""Page and documentation in a real headless Chromium without a network: drawing, the keyboard, a phone, the token."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
from asgi import answers_of
from flows import QUICK, tiny, train
from homes import home_of_file
from live_service import TOKEN, Service
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from services import free_port

from deploy.answers import Settings
from deploy.cli import main
from deploy.models import Models
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.store.phases import Store

QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic")
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", ALONE, *QUIET):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Driver("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


class Page:
    """The page as a person has it."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, fragment: str = "") -> "Page":
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}/{fragment}")
        return self

    def unlock(self) -> "Page":
        self.until(lambda: self.element("token").is_displayed())
        self.element("token").send_keys(TOKEN, Keys.ENTER)
        return self.until_drawn()

    def element(self, name: str) -> webdriver.remote.webelement.WebElement:
        return self.browser.find_element("id", name)

    def until(self, condition: Callable[[], object], seconds: float = 30) -> "Page":
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.browser.find_element("tag name", "body").text
            time.sleep(0.05)
        return self

    def until_drawn(self, than: str | None = None) -> "Page":
        return self.until(lambda: self.drawing() not in (None, than))

    def after(self, act: Callable[[], object]) -> "Page":
        before = self.drawing()
        act()
        return self.until_drawn(before)

    def drawing(self) -> str | None:
        return self.browser.execute_script("return document.body.dataset.drawn || null")

    def slide(self, phase: int) -> None:
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.browser.execute_script(script, self.element("phase"), phase)

    def pictures(self) -> list[str]:
        script = "return [...document.querySelectorAll('figure:not([hidden]) canvas')].map(c => c.toDataURL())"
        return self.browser.execute_script(script)

    def text(self, name: str) -> str:
        return self.element(name).text


@pytest.fixture(scope="module")
def page(service: Service, browser: webdriver.Chrome) -> Page:
    """Unlocked, with a candidate of three phases beside the champion of two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SJKO_HOME", str(service.home))
        store = Store(clusters.tracking_uri(Cluster()))
        assert main(["register", train(tiny(num_phases=3), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
    page = Page(browser, service.url).open()
    page.until(lambda: page.element("token").is_displayed())
    assert "asks for its token" in page.text("subtitle")
    page.element("token").send_keys("not the token", Keys.ENTER)
    page.until(lambda: "send the token of this service" in page.text("alert"))
    page.element("token").clear()
    return page.unlock()


@pytest.fixture(scope="module")
def page_of_classes(browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a conditional version, whose service is in this process."""
    port = free_port()
    with home_of_file(tmp_path_factory.mktemp("classes")) as store:
        ref = train(tiny(num_steps=40, width=32, target="two_circles", condition="mode"), store)[-1].ref
        assert main(["register", ref.run_id, "--name", "circles", *QUICK]) == 0
        answers = answers_of(Models(store.uri, "circles", "1"), Settings(store.uri, "circles", "1"))
        app = web_app(answers, Access(None, ()), lambda status: None)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield Page(browser, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.real
def test_a_class_is_chosen_and_asked_for_by_its_name(page_of_classes: Page) -> None:
    page = page_of_classes.open("#n=64&seed=1").until_drawn()
    page.until(lambda: page.element("given").is_displayed())
    choice = Select(page.element("condition"))
    assert [option.text for option in choice.options] == ["as in the data", "0", "1"]
    page.browser.execute_script(
        "const send = window.fetch; window.sent = []; window.fetch = (url, how) => (sent.push(how?.body), send(url, how))"
    )
    pictures = [page.pictures()[0]]
    for name in ("0", "1"):
        page.after(lambda name=name: choice.select_by_visible_text(name))
        pictures.append(page.pictures()[0])
        assert json.loads(page.browser.execute_script("return sent.filter(Boolean).at(-1)"))["condition"] == name
    assert len(set(pictures)) == 3


def test_it_draws_the_served_version_and_says_what_it_is(page: Page) -> None:
    page.open().until_drawn()
    assert "moons" in page.browser.title
    assert "version 1 @champion: 2 JKO steps towards moons" in page.text("subtitle")
    assert "w2" in page.text("metrics")
    assert len(page.pictures()) == 1
    page.browser.find_element("tag name", "summary").click()
    assert "S-JKO generator (arXiv 2402.05443)" in page.text("card")


def test_sliding_over_the_phases_moves_the_same_points_and_comes_back(page: Page) -> None:
    page.open("#n=300&seed=4").until_drawn()
    seen = {}
    for phase in (1, 0, -1, 0, 1):
        if phase != 1 or seen:
            page.after(lambda phase=phase: page.slide(phase))
        picture = page.pictures()[0]
        assert seen.setdefault(phase, picture) == picture
    assert len(set(seen.values())) == 3
    page.after(lambda: page.slide(-1))
    assert page.text("k") == "none: the noise x"


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.open("#n=50&seed=1").until_drawn()
    page.element("n").click()
    keys = webdriver.ActionChains(page.browser)
    page.after(lambda: keys.send_keys(Keys.TAB, Keys.ARROW_UP, Keys.ENTER).perform())
    assert "seed=2" in page.browser.current_url
    page.element("another").send_keys(Keys.TAB)
    assert page.browser.switch_to.active_element.get_attribute("id") == "phase"
    page.after(lambda: page.browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT))
    assert page.text("k") == "0 of 1"


def test_two_versions_side_by_side_start_from_the_same_noise(page: Page) -> None:
    page.open("#n=200&seed=4&beside=candidate").until_drawn()
    assert len(page.pictures()) == 2
    assert page.pictures()[0] != page.pictures()[1]
    assert "version 2" in page.text("versions")
    assert "version 1 @champion, its last phase 1" in page.browser.find_element("tag name", "figcaption").text
    page.after(lambda: page.slide(-1))
    assert page.pictures()[0] == page.pictures()[1]


def test_a_permalink_gives_the_same_picture(page: Page) -> None:
    page.open("#n=100").until_drawn()
    page.after(page.element("another").click)
    page.after(lambda: page.slide(0))
    link, pictures = page.element("permalink").get_attribute("href"), page.pictures()
    page.browser.get("about:blank")
    page.browser.get(link)
    page.until_drawn()
    assert page.pictures() == pictures
    assert page.browser.current_url == link


def test_play_goes_from_the_noise_to_the_last_phase(page: Page) -> None:
    page.open("#n=50").until_drawn()
    page.after(page.element("play").click)
    page.until(lambda: page.text("k") == "1 of 1" and page.text("play") == "Play from noise", 10)


def test_a_file_of_points_is_shown_beside_what_becomes_of_it_and_comes_back(page: Page, tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((60, 2))
    points[7] = 40.0
    table = pd.DataFrame(points, columns=["x", "y"]).assign(id=[f"{number:03d}" for number in range(60)], n=range(60))
    table.to_csv(tmp_path / "mine.csv", index=False)
    np.save(tmp_path / "mine.npy", points)
    (tmp_path / "large.csv").write_bytes(b"0" * (8 * 2**20 + 1))
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.open("#seed=4").until_drawn()
    page.element("file").send_keys(str(tmp_path / "mine.csv"))
    page.until(lambda: "a point has 2 coordinates: name those with coordinates" in page.text("alert"))
    page.after(lambda: page.element("coordinates").send_keys("x,y", Keys.ENTER))
    captions = [each.text for each in page.browser.find_elements("tag name", "figcaption")]
    assert captions[0] == "given: mine.csv, 1 of 60 points lie far outside the source"
    assert captions[1] == "version 1 @champion"
    given, moved = page.pictures()
    assert given != moved
    page.after(lambda: page.slide(-1))
    assert page.pictures() == [given, given]
    assert page.text("k") == "none: your points"
    page.after(lambda: page.slide(1))
    page.element("download").click()
    page.until((tmp_path / "transported-mine.csv").exists)
    back = pd.read_csv(tmp_path / "transported-mine.csv", dtype={"id": str})
    assert list(back.columns) == ["x", "y", "id", "n"]
    assert (back["id"] == table["id"]).all()
    assert not np.allclose(back[["x", "y"]], points)
    page.element("file").send_keys(str(tmp_path / "large.csv"))
    page.until(lambda: "large.csv has 8.0 MiB, and this page takes 8" in page.text("alert"))
    page.after(lambda: page.element("file").send_keys(str(tmp_path / "mine.npy")))
    page.after(page.element("drop").click)
    assert len(page.pictures()) == 1
    assert [
        entry for entry in page.browser.get_log("browser") if "the server responded with a status of 4" not in entry["message"]
    ] == []


def test_what_is_refused_is_told_and_can_be_mended(page: Page) -> None:
    for fragment, which in (("#version=77", "77"), ("#beside=nobody", "nobody")):
        page.open(fragment)
        page.until(lambda which=which: f"moons has no version {which}" in page.text("alert"))
    page.element("home").click()
    page.until_drawn()
    assert page.text("alert") == ""
    page.element("n").clear()
    page.element("n").send_keys("-5", Keys.ENTER)
    assert page.browser.execute_script("return document.querySelector('#n:invalid') !== null")


def test_it_fits_a_phone_and_no_script_error_was_logged(page: Page) -> None:
    page.browser.set_window_size(500, 900)
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    )
    page.open("#beside=candidate").until_drawn()
    wide = page.browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    small = (
        "return [...document.querySelectorAll('button, input, select')].filter(e => e.offsetHeight && e.offsetHeight < 36).length"
    )
    assert page.browser.execute_script(small) == 0
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    errors = [entry for entry in page.browser.get_log("browser") if "status of 401" not in entry["message"]]
    assert [entry for entry in errors if "status of 404" not in entry["message"]] == []


def test_the_documentation_is_drawn_and_sends_requests_without_a_network(page: Page) -> None:
    page.browser.get_log("browser")
    page.browser.get(f"{page.url}/docs")

    def texts(selector: str) -> list[str]:
        return [found.text for found in page.browser.find_elements("css selector", selector)]

    page.until(
        lambda: set(texts(".opblock-summary-path")) == {"/healthz", "/readyz", "/v1/model", "/v1/samples", "/v1/transport"}
    )
    resources = page.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {name.removeprefix(page.url) for name in resources} == {
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/openapi.json",
    }

    def click(selector: str) -> None:
        page.until(lambda: texts(selector))
        page.browser.find_elements("css selector", selector)[0].click()

    click("button.authorize")
    page.until(lambda: texts(".auth-container input"))
    page.browser.find_element("css selector", ".auth-container input").send_keys(TOKEN)
    for selector in (
        ".auth-btn-wrapper .authorize",
        ".btn-done",
        ".opblock-post .opblock-summary-control",
        ".try-out__btn",
        ".execute",
    ):
        click(selector)
    page.until(lambda: '"seed": 0' in " ".join(texts(".live-responses-table .response-col_description")))
    assert page.browser.get_log("browser") == []
