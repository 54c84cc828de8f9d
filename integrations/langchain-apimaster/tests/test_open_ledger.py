"""Which ledger the tools use: the application's, the client's, the environment's, or one in the store."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from apimaster import APIMaster
from apimaster.ledger import Ledger
from langchain_apimaster import APIMasterToolkit
from langchain_apimaster.open_ledger import place_of

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}/store"


def test_a_store_on_this_machine_holds_it(make_toolkit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for store in (tmp_path / "store", "store", (tmp_path / "store").as_uri()):
        for namespace in ("", "tenant"):
            toolkit = make_toolkit(store=store, namespace=namespace)
            assert toolkit.open_ledger.name == str(tmp_path / "store" / ".apimaster" / "ledger.db")


def test_a_store_elsewhere_uses_the_users_data_folder(make_toolkit: Any, elsewhere: str) -> None:
    found = make_toolkit(store=elsewhere).open_ledger.name
    assert found == str(Path(os.environ["XDG_DATA_HOME"]) / "apimaster" / "ledger.db")


def test_what_is_named_counts(emu: Any, make_toolkit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(tmp_path / f"{number}.db") for number in range(4)]
    monkeypatch.setenv("APIMASTER_LEDGER", places[0])
    assert make_toolkit().open_ledger.name == places[0]
    with (
        Ledger.open(places[3]) as given,
        APIMaster(emu.api_key, base_url=emu.base_url, ledger=places[1]) as client,
    ):
        assert make_toolkit(client=client).open_ledger is client.ledger
        assert make_toolkit(client=client, ledger=places[2]).open_ledger.name == places[2]
        toolkit = make_toolkit(client=client, ledger=given)
        assert toolkit.open_ledger is given
        assert toolkit.get_tools()[0].invoke("a cat").startswith("img_")
        assert [purchase.state for purchase in given.purchases()] == ["saved"]
        assert list(client.ledger.purchases()) == []


def test_a_store_that_cannot_be_written_leaves_it_to_the_data_folder(
    emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    toolkit = make_toolkit(store=tmp_path / "file" / "store")
    assert toolkit.open_ledger.name == str(Path(os.environ["XDG_DATA_HOME"]) / "apimaster" / "ledger.db")
    message = toolkit.get_tools()[0].invoke(tool_call("generate_image", prompt="a cat"), THREAD)
    assert "can't be written" in message.content
    assert emu.requests == []


def test_where_nothing_can_be_written_it_is_in_memory_with_one_warning(
    emu: Any, make_toolkit: Any, elsewhere: str, tool_call: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    call = tool_call("generate_image", prompt="a cat")
    for _ in range(2):
        toolkit = make_toolkit(store=elsewhere)
        assert toolkit.open_ledger.name == "in memory"
        assert toolkit.get_tools()[0].invoke(call, THREAD).status == "success"
    assert len(emu.bill.charges) == 1
    assert caplog.text.count("Purchases are remembered by this process only") == 1


def test_a_ledger_that_cannot_be_opened_costs_nothing(
    emu: Any, make_toolkit: Any, tool_call: Any, tmp_path: Path
) -> None:
    (tmp_path / "store" / ".apimaster").mkdir(parents=True)
    (tmp_path / "store" / ".apimaster" / "ledger.db").write_text("This is no database, and it is not replaced.\n" * 99)
    message = make_toolkit().get_tools()[0].invoke(tool_call("generate_image", prompt="a cat"), THREAD)
    assert message.status == "error"
    assert "The application's ledger of purchases can't be used." in message.content
    assert str(tmp_path) not in message.content
    assert "Nothing was charged" in message.content
    assert emu.requests == []


def test_a_place_is_checked_at_once(tmp_path: Path) -> None:
    for place in ("mysql://host/database", "", "s3://bucket/ledger.db"):
        with pytest.raises(ValidationError, match="accepted: a path"):
            APIMasterToolkit(store=tmp_path, ledger=place)


def test_a_pickle_names_the_place_and_no_password(make_toolkit: Any, tmp_path: Path) -> None:
    secret = "postgresql://me:secret@localhost:1/images?sslmode=disable"
    toolkit = make_toolkit(ledger=secret)
    for each in (toolkit, toolkit.get_tools()[0]):
        assert b"secret" not in pickle.dumps(each)
        assert "secret" not in repr(each) + str(each.model_dump())
    assert place_of(secret) == "postgresql://me@localhost:1/images?sslmode=disable"
    assert place_of("postgresql://localhost/images") == "postgresql://localhost/images"
    with Ledger.open(tmp_path / "my.db") as ledger, Ledger.open("sqlite://") as in_memory:
        assert place_of(ledger) == str(tmp_path / "my.db")
        assert place_of(in_memory) is None
        toolkit = make_toolkit(ledger=ledger)
        for made in (
            copy.deepcopy(toolkit),
            toolkit.model_copy(deep=True),
            toolkit.get_tools()[0].model_copy(deep=True),
        ):
            assert made.ledger is ledger
        again = pickle.loads(pickle.dumps(toolkit))
        assert again.open_ledger.name == ledger.name
        again.open_ledger.close()
