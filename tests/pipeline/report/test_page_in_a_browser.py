"""A report in a real headless Chromium without a network: light, dark, on a phone, in print."""

import base64
from collections.abc import Iterator
from pathlib import Path

import made_tables
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from pipeline.report.findings.verdict import verdict_of
from pipeline.report.judgement import judge
from pipeline.report.page.page import written
from pipeline.report.samples import draw

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=1150,900",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    folder = tmp_path_factory.mktemp("report")
    judgement = judge(draw(made_tables.HELD_OUT, made_tables.MADE["a group missing"](), made_tables.TRAIN), "species")
    names = {"--real": "real.csv", "--generated": "made.csv", "--train": "train.csv"}
    (folder / "report.html").write_text(written(judgement, verdict_of(judgement), names))
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    driver.get((folder / "report.html").as_uri())
    yield driver
    driver.quit()


def style(page: webdriver.Chrome, element: str, name: str) -> str:
    return str(page.execute_script(f"return getComputedStyle(document.querySelector('{element}')).{name}"))


def emulate(page: webdriver.Chrome, *, scheme: str = "light", media: str = "", width: int = 1150) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.real
def test_it_opens_from_the_disk_without_a_word_of_the_console_or_a_request(page: webdriver.Chrome) -> None:
    assert not page.get_log("browser")
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    drawn = page.execute_script("return [...document.querySelectorAll('figure > svg')].map(each => each.getBBox().width)")
    assert len(drawn) > 15
    assert min(drawn) > 50


@pytest.mark.real
def test_light_dark_and_print_have_colours_of_their_own(page: webdriver.Chrome) -> None:
    emulate(page)
    light = style(page, "body", "backgroundColor"), style(page, ".area.real", "fill")
    emulate(page, scheme="dark")
    dark = style(page, "body", "backgroundColor"), style(page, ".area.real", "fill")
    emulate(page, scheme="dark", media="print")
    printed = style(page, "body", "backgroundColor"), style(page, ".area.real", "fill")
    assert light[0] == printed[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert light[1] == printed[1] != dark[1]


@pytest.mark.real
@pytest.mark.parametrize("width", [360, 768, 1150])
def test_nothing_is_wider_than_the_window(page: webdriver.Chrome, width: int) -> None:
    emulate(page, width=width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    cut = page.execute_script("return [...document.querySelectorAll('.wide')].map(each => each.scrollWidth - each.clientWidth)")
    assert max(cut) <= 0


@pytest.mark.real
def test_it_prints_on_a_few_pages(page: webdriver.Chrome, tmp_path: Path) -> None:
    emulate(page)
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 8
