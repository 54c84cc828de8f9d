"""The gallery in a real browser, from disk; the manifest; thumbnails."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from apimaster.batch.gallery import render
from apimaster.batch.image_list import ImageListBuilder
from apimaster.batch.items import request_json
from apimaster.batch.manifest import COLUMNS, as_csv, as_jsonl
from apimaster.batch.outputs import Outputs, write_outputs
from apimaster.batch.place import place_of, read_items
from apimaster.batch.thumbnails import MAX_SIDE, make_missing_thumbnails, make_thumbnail, thumbnail_of
from apimaster.ledger.purchase import images_json, task_json
from apimaster.ledger.rows import Row
from apimaster.ledger.steps import error_json
from apimaster.results import GeneratedImage, Task

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> <!-- & 'quotes' \u2028 an end"


def fill(directory: Path, count: int) -> None:
    """A ledger with ``count`` images in all states; a hundred small pictures serve them all."""
    (directory / "images").mkdir(parents=True)
    for number in range(100):
        size = [(64, 36), (36, 64), (48, 48)][number % 3]
        Image.new("RGB", size, (number * 2, 120, 255 - number * 2)).save(directory / f"images/{number}.png")
    builder = ImageListBuilder()
    for number in range(count):
        prompt = HOSTILE if number == 3 else f"a {'cat' if number % 2 else 'dog'} number {number}"
        builder.add(number + 1, {"prompt": prompt, "id": f"p{number}", "tags": ["odd"] if number % 2 else []})
    place = place_of(directory)
    batch, ledger = place.open()
    rows = []
    for number, image in enumerate(builder.images):
        width, height = [(64, 36), (36, 64), (48, 48)][number % 100 % 3]
        picture = GeneratedImage(
            path=directory / f"images/{number % 100}.png", width=width, height=height, media_type="image/png"
        )
        facts: dict[str, Any] = {"state": "saved", "billed": "yes", "images": images_json((picture,))}
        if number % 20 == 5:
            error = error_json("OutcomeUnknownError", "nobody knows", "maybe")
            facts = {"state": "unknown", "billed": "maybe", "error": error}
        elif number % 20 == 6:
            facts = {"state": "submitted", "billed": "yes"}
        elif number % 20 == 7:
            facts = {"state": "failed", "error": error_json("ContentPolicyError", "the prompt was blocked", "no")}
        elif number % 20 == 8:
            facts = {}
        if facts.get("state") not in (None, "failed", "unknown"):
            task = Task(id=f"task_{number}", model=image.request.model)
            facts |= {"task_id": task.id, "task": task_json(task)}
        times = {"created_at": 1.7e9 + number, "updated_at": 1.8e9 - number}
        rows.append(
            Row(batch.key(image.id), 0, "", request_json(image.request), price=image.request.cost, **facts, **times)
        )
    ledger.call(lambda backend: backend.plan(rows)).result()
    batch.lines.update_list(builder.finish())
    batch.enter_planned()
    batch.set_limits(None, None)
    batch.close()
    write_outputs(place)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    helper = load("browser")
    program = helper.find() or helper.install()
    if program is None:
        pytest.fail("The gallery is tested in a real browser; install it: apt-get install -y chromium")
    found = helper.Browser(program)
    yield found
    found.close()


def load(name: str) -> ModuleType:
    """A module beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gallery") / "spring & <banners>"
    fill(directory, 5_000)
    return directory


CARDS = "document.querySelectorAll('.card').length"


def test_five_thousand_entries_are_a_screenful(browser: Any, big: Path) -> None:
    browser.requests.clear()
    browser.open(big / "index.html")
    assert browser.run("document.title") == "spring & <banners> · batch"
    assert (
        browser.run("document.querySelector('#sum').textContent")
        == "5,000 images · $168.75, of which $9.375 not certain"
    )
    assert 10 <= browser.run(CARDS) < 80
    browser.wait_for(
        "[...document.querySelectorAll('.card img')].filter((i) => i.complete && i.naturalWidth).length > 10"
    )
    # From top to bottom in two seconds' worth of steps: nothing piles up, and no step takes long.
    slowest = browser.run(
        """(async () => { let worst = 0; const all = document.documentElement.scrollHeight;
        for (let at = 0; at < 120; at++) { const begun = performance.now(); scrollTo(0, all * at / 120);
          await new Promise((done) => requestAnimationFrame(done));
          worst = Math.max(worst, performance.now() - begun); }
        return worst; })()"""
    )
    assert slowest < 500, f"{slowest:.0f} ms for a step"
    assert browser.run(CARDS) < 80
    browser.run("scrollTo(0, document.documentElement.scrollHeight)")
    browser.wait_for("[...document.querySelectorAll('.card')].some((card) => card.dataset.at === '4999')")
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "about", "data"}, "no network"
    assert browser.complaints == []


def test_filters_and_search(browser: Any, big: Path) -> None:
    browser.open(big / "index.html")
    chips = browser.run("[...document.querySelectorAll('.chip')].map((chip) => chip.textContent)")
    assert chips == ["all 5,000", "saved 4,000", "under way 250", "planned 250", "failed 250", "unknown 250"]
    browser.press("4", "4")
    assert browser.run("shown.length") == 250
    assert browser.run("new Set(shown.map((item) => item.state)).size") == 1
    browser.press("0", "0")
    browser.press("/", "/")
    assert browser.run("document.activeElement.id") == "search"
    browser.type("cat 4321 odd")
    browser.wait_for("shown.length === 1")
    assert browser.run("shown[0].id") == "p4321"
    assert browser.run("location.hash").startswith("#q=cat+4321+odd")
    browser.run("document.querySelector('#search').value = 'nothing like it'; filter()")
    assert browser.run("!document.querySelector('#none').hidden")
    browser.run("document.querySelector('#clear').click()")
    assert browser.run("shown.length") == 5000


def test_the_keyboard_is_enough(browser: Any, big: Path) -> None:
    browser.open(big / "index.html")
    browser.press("ArrowDown")
    assert browser.run("document.activeElement.dataset.at") == "0"
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        browser.press(key)
    at = int(browser.run("document.activeElement.dataset.at"))
    assert at == 2 + browser.run("columns")
    browser.press("End")
    assert browser.run("document.activeElement.dataset.at") == "4999"
    browser.press("Home")
    browser.press("Enter", "\r")
    assert browser.run("document.querySelector('#view').open")
    assert browser.run("document.querySelector('#title').textContent") == "p0"
    browser.press("ArrowRight")
    assert browser.run("document.querySelector('#place').textContent") == "2 of 5,000"
    browser.wait_for("document.querySelector('#stage img').naturalWidth > 0")
    browser.press("Escape")
    browser.wait_for("!document.querySelector('#view').open && document.activeElement.dataset.at === '1'")
    assert browser.complaints == []


def test_a_link_opens_one_image_and_a_prompt_is_only_text(browser: Any, big: Path) -> None:
    browser.open(big / "index.html", "#state=saved&id=p3")
    assert browser.run("document.querySelector('#prompt').textContent") == HOSTILE
    facts = browser.run("document.querySelector('#facts').innerText")
    for part in ("$0.0375", "images/3.png", "odd", "task_3", "64 × 36"):
        assert part in facts
    assert browser.run("document.title") == "spring & <banners> · batch"
    browser.open(big / "index.html", "#id=p5")
    assert "nobody knows" in browser.run("document.querySelector('#stage').innerText")
    assert "if it was charged" in browser.run("document.querySelector('#facts').innerText")


def test_the_page_says_what_is_missing(browser: Any, tmp_path: Path) -> None:
    fill(tmp_path / "b", 3)
    (tmp_path / "b" / "images" / "1.png").unlink()
    browser.open(tmp_path / "b" / "index.html")
    browser.wait_for("document.body.innerText.includes('images/1.png is not there')")


def test_the_manifest_has_the_same_columns_for_all(big: Path) -> None:
    records = [json.loads(line) for line in (big / "manifest.jsonl").read_text().split("\n")[:-1]]
    assert len(records) == 5_000
    assert all(list(each) == list(COLUMNS) for each in records)
    kinds = {name: {type(each[name]) for each in records} - {type(None)} for name in COLUMNS}
    assert all(len(found) <= 1 for found in kinds.values()), "one type per column, as Parquet needs it"
    assert records[0]["cost_usd"] == "0.0375"
    assert records[7]["cost_usd"] == "0"
    rows = list(csv.DictReader(io.StringIO("".join(as_csv(read_items(big))))))
    assert len(rows) == 5_000
    assert rows[3]["prompt"] == HOSTILE
    assert rows[1]["tags"] == "odd"
    assert "".join(as_jsonl(read_items(big))) == (big / "manifest.jsonl").read_text()


def test_large_pictures_get_thumbnails(tmp_path: Path) -> None:
    fill(tmp_path / "b", 2)
    noise = Image.effect_noise((1200, 800), 90).convert("RGB")
    noise.save(tmp_path / "b" / "images" / "0.png")
    make_missing_thumbnails(tmp_path / "b", read_items(tmp_path / "b"))
    assert make_thumbnail(tmp_path / "b", "images/0.png") is False, "it is there already"
    (made,) = (tmp_path / "b" / "thumbs").iterdir()
    with Image.open(made) as small:
        assert max(small.size) == MAX_SIDE
    write_outputs(place_of(tmp_path / "b"))
    assert thumbnail_of("images/0.png") in (tmp_path / "b" / "index.html").read_text()
    assert thumbnail_of("images/1.png") not in (tmp_path / "b" / "index.html").read_text()


def test_what_cannot_be_written_never_stops_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Outputs(place_of(tmp_path)).write()
    assert "could not be written" in caplog.text


def test_the_end_of_a_run_may_meet_a_rewrite_that_is_under_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 200)
    outputs = Outputs(place_of(tmp_path))
    with ThreadPoolExecutor(4) as threads:
        for _ in range(12):
            threads.submit(outputs.write)
        threads.submit(write_outputs, place_of(tmp_path)).result()  # `batch export` in the same process
    assert not [record.getMessage() for record in caplog.records if record.name == "apimaster"]
    assert "".join(as_jsonl(read_items(tmp_path))) == (tmp_path / "manifest.jsonl").read_text()
    assert not list(tmp_path.glob(".*.part"))


def test_the_page_holds_no_key_and_no_address(big: Path) -> None:
    text = "".join(render(big, read_items(big)))
    for secret in ("sk-", "Bearer", "http://", "https://"):
        assert secret not in text
