"""The web page in a real browser: what a visitor does and sees, with the mouse, the keyboard, and on a phone.

`python -m tests.serving.test_page http://127.0.0.1:5000 TEXT FOLDER` saves screenshots of a running server for the documentation.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import masscli
from tests.preloaded import Preloaded
from tests.serving.browser import CHROMIUM, Browser
from tests.serving.client import Server
from tests.toy import recipe

pytest.importorskip("starlette", reason="needs the extra masscli[serve]")
pytest.importorskip("uvicorn", reason="needs the extra masscli[serve]")
pytestmark = [
    pytest.mark.usefixtures("one_thread", "no_sync"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def server(
    toy: Path, tmp_path_factory: pytest.TempPathFactory, preloaded: Preloaded
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    pairs = {
        name: {"dataset": name, "objective": {"name": "translate"}}
        for name in ("en-de", "de-en")
    }
    for name, streams in (("ende", {"en-de": pairs["en-de"]}), ("both", pairs)):
        list(
            masscli.finetune(
                recipe(toy, folder / name, "train.max_update=20", streams=streams)
            )
        )
    with Server(folder / "both", folder / "ende", program=preloaded.program) as running:
        yield running


def choose_source(browser: Browser, language: str) -> None:
    browser.run(f"document.querySelector('#source').value = '{language}'")
    browser.run("document.querySelector('#source').dispatchEvent(new Event('change'))")


def results(browser: Browser) -> dict[str, str]:
    """The translation by model."""
    script = "[...document.querySelectorAll('article')].map(a => [a.querySelector('h2').textContent, a.querySelector('.translation').textContent])"
    return dict(browser.run(script))


def test_a_visitor_translates(server: Server, tmp_path: Path) -> None:
    text = "ba be bi\n\n<img src=x onerror=alert(1)> {name} bo"
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        # One model alone translates from German, so there is no choice; two translate from English.
        choose_source(browser, "de")
        assert browser.run("document.querySelector('#models').hidden") is True
        choose_source(browser, "en")
        assert browser.run("document.querySelectorAll('#models input').length") == 2
        browser.run("document.querySelector('#alternatives').value = '2'")
        browser.type("#text", text)
        assert (
            browser.run("document.querySelector('#count').textContent")
            == f"{len(text)} characters"
        )
        browser.press_control_enter()
        browser.wait("document.querySelectorAll('article').length === 2")
        for model, shown in results(browser).items():
            _, answer = server.translate(q=text, source="en", target="de", model=model)
            assert shown == answer["translatedText"]
            assert shown.split("\n")[1] == ""
            # What is typed is text, never markup.
            assert "<img src=x onerror=alert(1)>" in shown
        assert browser.run("document.querySelectorAll('article img').length") == 0
        assert (
            browser.run("document.querySelectorAll('article .nbest[open] li').length")
            >= 8
        )
        browser.click(".scores summary")
        assert (
            browser.run("document.querySelectorAll('.scores[open] .piece').length") > 3
        )

        # One model less, the other way round, and a mistake.
        browser.click("#models input")
        browser.click("#translate")
        browser.wait("document.querySelectorAll('article').length === 1")
        browser.click("#swap")
        assert (
            browser.run(
                "document.querySelector('#source').value + document.querySelector('#target').value"
            )
            == "deen"
        )
        browser.type("#text", " ba" * 5000)
        browser.click("#translate")
        browser.wait("!document.querySelector('#error').hidden")
        assert "at most 10000 are translated at once" in browser.run(
            "document.querySelector('#error').textContent"
        )

        own = f"http://127.0.0.1:{server.port}/"
        assert [
            address for address in browser.requests() if not address.startswith(own)
        ] == []
        # The refused request itself is the only thing in the console.
        assert [line for line in browser.complaints() if "413" not in line] == []


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(
    server: Server, tmp_path: Path
) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        choose_source(browser, "de")
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        controls = {}
        for node in nodes:
            role = node.get("role", {}).get("value")
            if role in ("button", "combobox", "textbox", "checkbox"):
                controls[node.get("name", {}).get("value", "")] = role
        assert controls == {
            "From": "combobox", "Swap languages": "button", "To": "combobox", "Alternatives": "combobox",
            "Text": "textbox", "Translate": "button",
        }  # fmt: skip
        reached = []
        for _ in range(6):
            for kind in ("rawKeyDown", "keyUp"):
                browser.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key="Tab",
                    code="Tab",
                    windowsVirtualKeyCode=9,
                )
            reached.append(browser.run("document.activeElement.id"))
        assert reached == [
            "source",
            "swap",
            "target",
            "alternatives",
            "text",
            "translate",
        ]


CONTRAST = """
(() => {
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const color = (text) => text.match(/[\\d.]+/g).map(Number);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = color(getComputedStyle(at).backgroundColor);
      if (found.length === 3) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("h1, label, button, summary, .hint, .confidence, .translation, .flags li")].map((element) => {
    const pair = [luminance(color(getComputedStyle(element).color)), luminance(background(element))];
    return [element.className || element.tagName, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)];
  });
})()
"""
"""The contrast of text by WCAG 2, where its background is plain."""


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_can_be_read(
    server: Server, tmp_path: Path, dark: bool
) -> None:
    with Browser(tmp_path / "profile", 360, 740, dark) as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.type("#text", "ba be bi bo " * 30)
        browser.click("#translate")
        browser.wait("document.querySelector('article')")
        browser.click(".scores summary")
        assert browser.run("document.documentElement.scrollWidth") <= 360
        # Fingers need room.
        sizes = browser.run(
            "[...document.querySelectorAll('button, select')].map(e => e.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 36
        for name, contrast in browser.run(CONTRAST):
            assert contrast >= 4.5, (name, contrast)


def save_screenshots(address: str, text: str, folder: Path) -> None:
    """Save the page with a translation: wide and light, wide and dark, and on a phone."""
    for name, width, height, dark in (
        ("page", 1200, 700, False),
        ("page-dark", 1200, 700, True),
        ("page-phone", 390, 1180, False),
    ):
        with (
            tempfile.TemporaryDirectory() as profile,
            Browser(Path(profile), width, height, dark) as browser,
        ):
            browser.open(address)
            choose_source(browser, "en")
            browser.run("document.querySelector('#alternatives').value = '1'")
            browser.type("#text", text)
            browser.press_control_enter()
            browser.wait("document.querySelector('article')")
            browser.run("document.querySelector('.scores').open = true")
            browser.screenshot(folder / f"{name}.png", whole=name == "page")


if __name__ == "__main__":
    save_screenshots(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
