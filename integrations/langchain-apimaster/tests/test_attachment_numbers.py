"""A number of an attachment keeps its meaning when the history is trimmed or forked.

Each picture has a width of its own, so the emulator tells which one was edited.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware, before_model
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage, trim_messages
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode
from PIL import Image

from langchain_apimaster.attachment_numbers import MAX_GONE, Numbered, numbered
from langchain_apimaster.attachments import Attachment
from langchain_apimaster.history import NEVER, Moment

A, B, C, D = (100, 200, 300, 400)  # pictures, by their width
GENERATE = ("generate_image", {"prompt": "a cat"})


def block(width: int) -> dict[str, Any]:
    out = io.BytesIO()
    Image.new("RGB", (width, 50), "teal").save(out, format="PNG")
    return {"type": "image", "base64": base64.b64encode(out.getvalue()).decode(), "mime_type": "image/png"}


def attached(*widths: int, id: str | None = None) -> HumanMessage:  # noqa: A002
    return HumanMessage([{"type": "text", "text": "look"}, *map(block, widths)], id=id)


def edit(*names: str | int) -> tuple[str, dict[str, Any]]:
    names = tuple(f"attachment:{name}" for name in names)
    return ("edit_image", {"prompt": f"blue {' '.join(names)}", "reference_images": list(names)})


def outcome(emu: Any, answer: ToolMessage) -> Any:
    """The widths of the pictures that were edited, or why none was."""
    if answer.status == "error":
        return answer.text
    (job,) = [job for job in emu.jobs if job.id in answer.artifact["tasks"]]
    return tuple(reference.width for reference in job.request.references)


class Conversation:
    """A thread with an agent; each turn has a toolkit and an agent of its own, as another process would."""

    def __init__(self, emu: Any, make_toolkit: Any, scripted: Any, calls: Any, **options: Any) -> None:
        self.emu, self.make_toolkit, self.scripted, self.calls = emu, make_toolkit, scripted, calls
        self.saver: Any = InMemorySaver()
        self.config: Any = {"configurable": {"thread_id": "one"}}
        self.middleware: list[Any] = []
        self.options = options
        self.turns = 0

    def agent(self, *turns: AIMessage) -> Any:
        tools = self.make_toolkit(**self.options).get_tools()
        return create_agent(self.scripted(*turns), tools, checkpointer=self.saver, middleware=self.middleware)

    def turn(
        self, said: Any, *asked: Any, config: Any = None, way: str = "invoke", durability: Any = "async"
    ) -> list[Any]:
        """What the user says, and the calls of the model; for each call, the widths it edits, or why not."""
        self.turns += 1
        named = [(*call, f"call_{self.turns}_{number}") for number, call in enumerate(asked)]
        agent = self.agent(*([self.calls(*named)] if named else []), AIMessage("Done."))
        said = None if said is None else {"messages": said if isinstance(said, list) else [said]}
        config = config or self.config
        options: Any = {"stream_mode": "updates", "durability": durability}

        async def stream() -> list[Any]:
            return [each async for each in agent.astream(said, config, **options)]

        updates = asyncio.run(stream()) if way == "ainvoke" else list(agent.stream(said, config, **options))
        found = [each for update in updates if "tools" in update for each in update["tools"]["messages"]]
        answers = {each.tool_call_id: each for each in found}  # a middleware may remove them before the run ends
        return [outcome(self.emu, answers[call_id]) for *_, call_id in named]

    def messages(self) -> list[Any]:
        return list(self.agent().get_state(self.config).values["messages"])

    def remove(self, *messages: Any) -> None:
        self.agent().update_state(self.config, {"messages": [RemoveMessage(id=each.id) for each in messages]})

    def before(self, message_id: str) -> Any:
        """The checkpoint from which the run with this message began: where an interface forks when it is edited."""
        states = list(self.agent().get_state_history(self.config))
        seen = [state for state in states if any(each.id == message_id for each in state.values.get("messages", ()))]
        return seen[-1].parent_config


@pytest.fixture
def talk(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> Callable[..., Conversation]:
    return lambda **options: Conversation(emu, make_toolkit, scripted, calls, **options)


# --- trimmed --------------------------------------------------------------------------------------------


def by_removing(talk: Conversation) -> None:
    """Everything before the newest message of the user."""
    messages = talk.messages()
    newest = max(at for at, each in enumerate(messages) if each.type == "human")
    talk.remove(*messages[:newest])


def by_removing_the_message(talk: Conversation) -> None:
    talk.remove(next(each for each in talk.messages() if each.type == "human"))


def by_trim_messages(talk: Conversation) -> None:
    @before_model
    def trim(state: Any, runtime: Any) -> Any:
        def count(messages: list[Any]) -> int:
            return sum(each.type == "human" for each in messages)

        kept = trim_messages(state["messages"], token_counter=count, max_tokens=2, start_on="human", strategy="last")
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept]}

    talk.middleware = [trim]


def by_summarizing(talk: Conversation) -> None:
    talk.middleware = [
        SummarizationMiddleware(
            talk.scripted(*(10 * [AIMessage("They talked about a picture.")])),
            trigger=("messages", 7),
            keep=("messages", 3),
        )
    ]


def by_taking_pictures_out(talk: Conversation) -> None:
    """The message stays, and its picture becomes a text."""
    first = next(each for each in talk.messages() if each.type == "human")
    talk.agent().update_state(talk.config, {"messages": [HumanMessage("[a picture was here]", id=first.id)]})


def by_keeping_the_first(talk: Conversation) -> None:
    """A greeting stays in front, as many applications keep the first message or a system message."""
    messages = talk.messages()
    newest = max(at for at, each in enumerate(messages) if each.type == "human")
    kept = [AIMessage("Welcome.", id="welcome"), *messages[newest:]]
    talk.agent().update_state(talk.config, {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept]})


TRIMS = [
    by_removing,
    by_removing_the_message,
    by_trim_messages,
    by_summarizing,
    by_taking_pictures_out,
    by_keeping_the_first,
]


@pytest.mark.parametrize("trim", TRIMS)
@pytest.mark.parametrize("first", [edit(1), edit("latest"), GENERATE], ids=lambda call: str(list(call[1].values())[-1]))
def test_a_number_outlives_the_history(trim: Any, first: Any, talk: Any, emu: Any) -> None:
    """Also if the first call names no attachment: the tool has seen it."""
    one = talk()
    assert one.turn(attached(A), first) == [() if first is GENERATE else (A,)]
    one.turn(attached(B))
    trim(one)
    gone, second, newest, last, beyond = one.turn(
        HumanMessage("the first one"), *(edit(name) for name in (1, 2, "latest", -1, 3))
    )
    assert second == newest == last == (B,)
    assert "attachment:1 is no longer in the conversation" in gone
    assert "Attached now: attachment:2" in gone
    assert "Nothing was charged" in gone
    assert "there is no attachment:3; the user has attached 1 image" in beyond
    assert len(emu.bill.charges) == 4, "each refusal is free"


def test_new_numbers_go_on_after_those_that_are_gone(talk: Any, emu: Any) -> None:
    one = talk()
    for picture in (A, B, C):
        one.turn(attached(picture), edit("latest"))
        by_removing_the_message(one)
    gone = one.turn(HumanMessage("all of them"), edit(1), edit(3), edit("latest"), edit(4))
    assert ["is no longer" in each for each in gone] == [True, True, False, False]
    assert all("Ask the user to attach it" in each for each in gone)
    assert "no image is in the conversation any more" in gone[2]
    assert one.turn(attached(D), edit(4)) == [(D,)]
    assert len(emu.bill.charges) == 4


def test_an_image_that_is_attached_again_has_its_old_number_too(talk: Any) -> None:
    one = talk()
    one.turn([attached(A), attached(B)], edit(1))
    by_removing_the_message(one)
    one.turn(attached(A), edit("latest"))
    assert one.turn(HumanMessage("go on"), edit(1), edit(2), edit(3), edit(1, 2)) == [(A,), (B,), (A,), (A, B)]


def test_two_pictures_in_a_message_of_which_one_is_taken_out(talk: Any) -> None:
    one = talk()
    one.turn(attached(A, B, id="m1"), edit(1, 2))
    one.turn(attached(B, id="m1"))  # as ``trim_messages`` does with ``allow_partial``
    gone, second = one.turn(attached(C, id="m2"), edit(1), edit(2))
    assert "attachment:1 is no longer" in gone
    assert "Attached now: attachment:2 to attachment:3. The newest is attachment:latest." in gone
    assert second == (B,)
    assert one.turn(HumanMessage("and"), edit(3), edit(-2)) == [(C,), (B,)]


def test_what_the_model_does_not_see_but_the_state_has_keeps_its_number(talk: Any) -> None:
    """Trimmed for the model alone, ``attachment:1`` is what it was, too."""

    from langchain.agents.middleware import wrap_model_call

    @wrap_model_call
    def newest_only(request: Any, handler: Any) -> Any:
        return handler(request.override(messages=request.messages[-1:]))

    one = talk()
    one.turn(attached(A), edit(1))
    one.middleware = [newest_only]
    assert one.turn(attached(B), edit(1), edit(2)) == [(A,), (B,)]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_the_answer_names_the_number(way: str, talk: Any) -> None:
    one = talk()
    one.turn(attached(A), GENERATE)
    by_removing_the_message(one)
    submit = ("submit_image", {"prompt": "started", "reference_images": ["attachment:-1"]})
    assert one.turn(attached(B, C), edit("latest", -2), submit, way=way) == [(C, B), (C,)]
    edited, submitted = [each.text for each in one.messages() if each.type == "tool"][-2:]
    assert "Made from attachment:3, attachment:2." in edited
    assert "It is made from attachment:3." in submitted


# --- forks, time travel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", [1, 2])
def test_an_edited_message_takes_the_place_and_the_number(place: int, times: int, talk: Any) -> None:
    """An interface begins a run at the checkpoint before the message: it is certain that this is another history."""
    one = talk()
    if place == 2:
        assert one.turn(attached(D, id="m0"), edit(1)) == [(D,)]
    assert one.turn(attached(A, id="m1"), edit(place)) == [(A,)]
    one.turn(attached(B, id="m2"), GENERATE)
    past = one.before("m1")
    for number in range(times):
        (found,) = one.turn(attached(C + number, id=f"m1 {number}"), edit(place), config=past)
        assert found == (C + number,)
    (gone,) = one.turn(HumanMessage("and the next?"), edit(place + 1))
    assert "attachment:2" in gone or "attachment:3" in gone


def test_an_edited_text_keeps_the_number_of_its_picture(talk: Any) -> None:
    one = talk()
    assert one.turn(attached(A, id="m1"), edit(1)) == [(A,)]
    said = HumanMessage([{"type": "text", "text": "look again"}, block(A)], id="other")
    assert one.turn(said, edit(1), config=one.before("m1")) == [(A,)]


def test_a_fork_by_an_update_of_the_state(talk: Any) -> None:
    """Also where the checkpoint of the fork is newer than everything else."""
    one = talk()
    one.turn(HumanMessage("hi", id="m0"))
    assert one.turn(attached(A, id="m1"), edit(1)) == [(A,)]
    update = {"messages": [HumanMessage("hello", id="m0")]}
    fork = one.agent().update_state(one.before("m1"), update)
    assert one.turn(attached(B, id="other"), edit(1), config=fork) == [(B,)]


def test_a_fork_with_a_checkpointer_for_asyncio(
    tmp_path: Any, emu: Any, make_toolkit: Any, scripted: Any, calls: Any
) -> None:
    config: Any = {"configurable": {"thread_id": "one"}}

    async def turn(saver: Any, message: Any, call: Any, config: Any) -> Any:
        model = scripted(calls((*call, "call_0")), AIMessage("Done."))
        agent = create_agent(model, make_toolkit().get_tools(), checkpointer=saver)
        ended = await agent.ainvoke({"messages": [message]}, config)
        answers = [each for each in ended["messages"] if each.type == "tool"]
        return agent, outcome(emu, answers[-1])

    async def talk() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
            agent, first = await turn(saver, attached(A, id="m1"), edit(1), config)
            past = [each.config async for each in agent.aget_state_history(config)][-1]
            fork = await agent.aupdate_state(past, {"messages": [HumanMessage("hello")]}, as_node="__start__")
            assert [first, (await turn(saver, attached(B, id="m2"), edit(1), fork))[1]] == [(A,), (B,)]

    asyncio.run(talk())


def test_back_in_the_first_history_the_numbers_are_those_of_then(talk: Any, emu: Any) -> None:
    one = talk()
    assert one.turn(attached(A, id="m1"), edit(1)) == [(A,)]
    first = one.agent().get_state(one.config).config
    assert one.turn(attached(B, id="other"), edit(1), config=one.before("m1")) == [(B,)]
    assert one.turn(attached(C, id="m2"), edit(1), edit(2), config=first) == [(A,), (C,)]
    before_tools = next(
        each.config
        for each in one.agent().get_state_history(one.config)
        if "tools" in each.next and any(message.id == "other" for message in each.values["messages"])
    )
    bought = len(emu.bill.charges)
    one.agent(AIMessage("Again.")).invoke(None, before_tools)
    assert len(emu.bill.charges) == bought, "made again, it means the same picture, and is not paid for again"


def test_the_same_message_with_another_picture_keeps_its_number(talk: Any) -> None:
    one = talk()
    one.turn([attached(A, id="m1"), attached(B, id="m2")], edit(1))
    past = one.before("m1")
    assert one.turn([attached(C, id="m1"), attached(B, id="m2")], edit(1), edit(2), config=past) == [(C,), (B,)]


def test_a_thread_id_that_is_used_again_begins_at_one(talk: Any) -> None:
    """A script that is run again has an empty checkpointer, and the ledger of its last run."""
    one = talk()
    one.turn(attached(A), edit(1))
    one.turn(attached(B), edit(2))
    one.saver = InMemorySaver()
    assert one.turn(attached(C), edit(1)) == [(C,)]
    assert one.turn(attached(D), edit(1), edit(2)) == [(C,), (D,)]


def test_in_later_turns_of_a_fork_the_old_history_gives_no_image_its_number(talk: Any) -> None:
    """There the second picture was what is the first one here."""
    one = talk()
    one.turn(HumanMessage("hi"))
    assert one.turn(attached(A, id="m1"), edit(1)) == [(A,)]
    assert one.turn(attached(B, id="m3"), edit(2)) == [(B,)]
    assert one.turn(attached(B, id="m2"), edit(1), config=one.before("m1")) == [(B,)]
    for _ in range(4):
        one.turn(HumanMessage("go on"))
    first, second, newest = one.turn(attached(A, id="m5"), edit(1), edit(2), edit("latest"))
    assert (first, newest) == ((B,), (A,))
    assert second == (A,) or "attachment:2 is no longer" in second


class NewestOnly(InMemorySaver):
    """Some checkpointers keep the newest checkpoint only, and give it whatever they are asked for."""

    def get_tuple(self, config: Any) -> Any:
        place = {key: value for key, value in config["configurable"].items() if key != "checkpoint_id"}
        found = super().get_tuple({"configurable": place})
        return found if found is None else found._replace(parent_config=None)


def prune(saver: InMemorySaver, kept: Any) -> None:
    """Remove all checkpoints of the thread but one."""
    (held,) = saver.storage["one"].values()
    for each in set(held) - {kept["configurable"]["checkpoint_id"]}:
        del held[each]


@pytest.mark.parametrize("case", ["sync", "async", "exit", "pruned", "newest only"])
def test_a_checkpoint_that_is_not_held_proves_nothing(case: str, talk: Any, emu: Any) -> None:
    """The run begins at a checkpoint that is named, in the same history: the picture was trimmed."""
    one = talk()
    one.saver = NewestOnly() if case == "newest only" else InMemorySaver()
    durability = case if case in ("sync", "exit") else "async"
    assert one.turn(attached(A), edit(1), durability=durability) == [(A,)]
    by_removing_the_message(one)
    newest = one.agent().get_state(one.config).config
    if case == "pruned":
        prune(one.saver, newest)
    first, second = one.turn(attached(B), edit(1), edit(2), durability=durability, config=newest)
    assert "attachment:1 is no longer in the conversation" in first
    assert second == (B,)
    assert len(emu.bill.charges) == 2


def test_a_fork_of_a_history_of_which_only_the_ends_are_held(talk: Any) -> None:
    """With ``durability="exit"`` nothing proves that the first picture belongs to another history."""
    one = talk()
    for said, calls in ((HumanMessage("hi"), []), (attached(A, id="m1"), [edit(1)]), (HumanMessage("go on"), [])):
        one.turn(said, *calls, durability="exit")
    past = one.before("m1")
    assert one.turn(attached(B, id="m2"), edit("latest"), durability="exit", config=past) == [(B,)]
    (found,) = one.turn(HumanMessage("again"), edit(1), durability="exit")
    assert found == (B,) or "attachment:1 is no longer" in found


@pytest.mark.parametrize(
    ("before", "after"),
    [((A, B), (B, A)), ((A, B, C), (B, C)), ((A, B), (B,)), ((A, B, A), (A, A, B))],
)
@pytest.mark.parametrize("by", ["an empty checkpointer", "an edited message"])
def test_images_of_another_history_are_not_recognized(by: str, before: Any, after: Any, talk: Any, emu: Any) -> None:
    """There are the same images, and here they are attached anew: numbers count from one."""
    one = talk()
    assert one.turn(attached(*before, id="m1"), edit(2)) == [before[1:2]]
    config = one.before("m1")
    if by == "an empty checkpointer":
        one.saver, config = InMemorySaver(), None
    *found, beyond = one.turn(attached(*after, id="m2"), *(edit(at) for at in range(1, len(after) + 2)), config=config)
    assert found == [(width,) for width in after]
    assert f"there is no attachment:{len(after) + 1}" in beyond
    again = one.turn(HumanMessage("once more"), *(edit(at) for at in range(1, len(after) + 1)))
    assert again == [(width,) for width in after]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((A, B), (B, C), {1: None, 2: B, 3: C}),
        ((A, B), (B, A), {1: A, 2: B}),
        ((A, B), (C, B), {1: C, 2: B}),
        ((A, B, C), (A, D, C), {1: A, 2: D, 3: C}),
        ((A, A, B), (A, B), {1: A, 2: A, 3: B}),
        ((A, A), (C, A), {1: C, 2: A}),
        ((A, B), (C,), {1: None, 2: None, 3: C}),
        ((A,), (A, B), {1: A, 2: B}),
    ],
)
def test_a_message_replaced_under_its_id(before: Any, after: Any, expected: Any, talk: Any) -> None:
    """An image that is still in the message keeps its number; only one that is new there takes that of its place."""
    one = talk()
    assert one.turn(attached(*before, id="m1"), edit(1)) == [before[:1]]
    found = one.turn(attached(*after, id="m1"), *map(edit, expected))
    for (number, width), each in zip(expected.items(), found, strict=True):
        if width is None:
            assert f"attachment:{number} is no longer" in each
        else:
            assert each == (width,)
    assert one.turn(HumanMessage("again"), *map(edit, expected)) == found


def test_an_agent_within_a_graph(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    """Its steps begin anew in each run, and prove nothing. The checkpoints of the whole graph do."""
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}

    def turn(message: Any, *asked: Any, config: Any = config) -> tuple[Any, list[Any]]:
        named = [(*call, f"call_{number}") for number, call in enumerate(asked)]
        agent = create_agent(scripted(calls(*named), AIMessage("Done.")), make_toolkit().get_tools())
        whole: Any = StateGraph(MessagesState).add_node("agent", agent).add_edge(START, "agent")
        graph = whole.compile(checkpointer=saver)
        ended = graph.invoke({"messages": [message]}, config)["messages"]
        return graph, [outcome(emu, each) for each in ended if each.type == "tool"]

    graph, found = turn(attached(A, id="m1"), edit(1))
    assert found == [(A,)]
    graph.update_state(config, {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}, as_node="agent")
    graph, (gone, second) = turn(attached(B, id="m2"), edit(1), edit(2))
    assert "attachment:1 is no longer in the conversation" in gone
    assert second == (B,)
    begin = list(graph.get_state_history(config))[-1].config
    assert turn(attached(C, id="m3"), edit(1), config=begin)[1] == [(C,)]


def test_a_number_of_another_history_means_nothing_in_this_one() -> None:
    first, second, third = (Numbered(number, f"m{number}", "an image") for number in (1, 2, 2))
    there = [Attachment({}, "m1", "an image")]
    assert numbered([first, second], there, NEVER).place_of(2) == 0, "it was attached twice, and is there"
    assert numbered([first, second], there, NEVER, {second}).place_of(2) is None
    other = replace(third, message_id="m3", fingerprint="another image")
    assert numbered([first, second, other], there, NEVER).place_of(2) is None, "it is not known which is meant"


# --- without a checkpointer, ids or a thread ------------------------------------------------------------


class Loose(TypedDict):
    """Messages as they are given: nobody gives them ids."""

    messages: list[Any]


@pytest.fixture
def run(emu: Any, make_toolkit: Any) -> Callable[..., list[Any]]:
    """Run a graph without a checkpointer on a history, with a call for each attachment; what becomes of each."""

    def run(
        history: list[Any], *names: Any, thread: str | None = "one", state: Any = MessagesState, **options: Any
    ) -> list[Any]:
        node = ToolNode(make_toolkit(**options).get_tools())
        graph: Any = StateGraph(state).add_node("tools", node).add_edge(START, "tools").compile()
        asked = [{"name": edit(name)[0], "args": edit(name)[1], "id": f"call_{name}"} for name in names]
        config: Any = {"configurable": {} if thread is None else {"thread_id": thread}}
        ended = graph.invoke({"messages": [*history, AIMessage("", tool_calls=asked)]}, config)["messages"]
        return [outcome(emu, each) for each in ended[-len(asked) :]]

    return run


def test_where_nothing_tells_a_fork_from_a_trimmed_history_no_number_is_given_twice(run: Any, emu: Any) -> None:
    assert run([attached(A, id="m1")], 1) == [(A,)]
    (gone,) = run([attached(B, id="m2")], 1)
    assert "attachment:1 is no longer in the conversation" in gone
    assert "Attached now: attachment:2." in gone
    assert run([attached(B, id="m2")], 2, "latest") == [(B,), (B,)]
    assert run([attached(A, id="m1")], 1) == [(A,)]
    assert len(emu.bill.charges) == 4, "the refusal is free"


@pytest.mark.parametrize("state", [MessagesState, Loose], ids=["new ids each time", "no ids"])
def test_a_history_that_is_handed_over_whole_is_recognized_by_its_images(state: Any, run: Any) -> None:
    histories = [[A], [A, B], [A, B, A], [B, A], [A, C], [C]]
    numbers = [[1], [1, 2], [1, 2, 3], [1, 2], [1, 4], [4]]  # of one that is there twice, the first
    for widths, expected in zip(histories, numbers, strict=True):
        history = [each for width in widths for each in (attached(width), AIMessage("nice"))]
        assert run(history, *expected, state=state) == [
            (histories_at,) for histories_at in ([A, B, A, C][number - 1] for number in expected)
        ]
    (gone,) = run([attached(C)], 2, state=state)
    assert "Attached now: attachment:4." in gone


@pytest.mark.parametrize("state", [MessagesState, Loose])
def test_without_a_thread_numbers_count_what_is_there(state: Any, run: Any, emu: Any) -> None:
    assert run([attached(A, id="m1"), attached(B, id="m2")], 1, 2, thread=None, state=state) == [(A,), (B,)]
    first, second = run([attached(B, id="m2")], 1, 2, thread=None, state=state)
    assert first == (B,)
    assert "there is no attachment:2; the user has attached 1 image" in second
    assert "Attached now: attachment:1." in second


def test_threads_and_namespaces_count_by_themselves(run: Any) -> None:
    assert run([attached(A, id="m1")], 1) == [(A,)]
    for other in ({"thread": "two"}, {"namespace": "tenant"}, {"thread": "two", "namespace": "tenant"}):
        assert run([attached(B, id="m2")], 1, **other) == [(B,)]
    (gone,) = run([attached(B, id="m2")], 1)
    assert "Attached now: attachment:2." in gone


@pytest.mark.parametrize("name", [0, 3, 9999, -3])
def test_a_number_that_nothing_has_is_refused(name: int, run: Any, emu: Any) -> None:
    (refusal,) = run([attached(A), attached(B)], name)
    assert f"there is no attachment:{name}; the user has attached 2 images" in refusal
    assert "Attached now: attachment:1 to attachment:2. The newest is attachment:latest." in refusal
    assert not emu.requests


# --- the ledger -----------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
from langchain_apimaster import APIMasterToolkit
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

options, blocks = json.loads(sys.argv[1])
node = ToolNode(APIMasterToolkit(**options).get_tools())
graph = StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile()
print("ready", flush=True)
sys.stdin.readline()
for id, block in blocks:
    call = {"name": "generate_image", "args": {"prompt": id}, "id": "call_0"}
    said = [HumanMessage([block], id=id), AIMessage("", tool_calls=[call])]
    graph.invoke({"messages": said}, {"configurable": {"thread_id": "one"}})
"""


@pytest.mark.slow
def test_two_processes_count_in_one_row(run: Any, emu: Any, tmp_path: Any) -> None:
    """Each sees messages of its own in one thread, at the same time: no number is given twice, and none is lost."""
    widths = range(100, 110)
    options = {"api_key": emu.api_key, "base_url": emu.base_url, "store": str(tmp_path / "store")}
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps([options, [(f"m{width}", block(width)) for width in part]])],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for part in (widths[::2], widths[1::2])
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        errors = child.communicate(timeout=120)[1]
        assert child.returncode == 0, errors
    history = [attached(width, id=f"m{width}") for width in widths]
    found = run(history, *range(1, 11), "latest", 11)
    assert sorted(found[:10]) == [(width,) for width in widths]
    assert "there is no attachment:11" in found[11]
    assert len(emu.bill.charges) == 10 + 11


def test_the_calls_of_a_message_count_alike(talk: Any, emu: Any) -> None:
    """LangGraph runs them on threads of their own."""
    one = talk()
    assert one.turn(attached(A, B, C), *(edit(each) for each in (1, 2, 3, -1, -2, -3))) == [
        (each,) for each in (A, B, C, C, B, A)
    ]
    assert len(emu.bill.charges) == 6


def test_only_what_is_new_is_written(make_toolkit: Any, talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from apimaster.ledger import Ledger

    written: list[str] = []
    whole = Ledger.change_note

    def change_note(self: Ledger, name: str, change: Any) -> None:
        written.append(name)
        whole(self, name, change)

    monkeypatch.setattr(Ledger, "change_note", change_note)
    one = talk()
    one.turn(HumanMessage("hi"), GENERATE)
    assert written == []
    one.turn(attached(A), GENERATE)
    assert len(written) == 1
    one.turn(HumanMessage("more"), GENERATE, edit(1), edit("latest"))
    by_removing(one)
    one.turn(HumanMessage("more"), GENERATE, edit(1))
    assert len(written) == 1
    one.turn(attached(B), ("get_image", {"task_id": "task_of_nobody"}))
    assert len(written) == 2
    text = make_toolkit().open_ledger.note(written[0])
    assert len(text) < 400, "no picture is in it"


def test_what_is_noted_of_a_long_thread_stays_small() -> None:
    known: Any = ()
    for number in range(2 * MAX_GONE):
        found = numbered(known, [Attachment({}, f"m{number}", f"f{number}")], Moment(number, str(number), ""))
        assert found.numbers == (number + 1,)
        assert found.known == numbered(found.known, [Attachment({}, f"m{number}", f"f{number}")], NEVER).known
        known = found.known
    assert len(known) == MAX_GONE + 2, "one stands for all that were forgotten"
    again = numbered(known, [Attachment({}, "m0", "f0")], NEVER)
    assert again.numbers == (2 * MAX_GONE + 1,), "what was forgotten gets a new number, and no other's"
    there = [Attachment({}, f"m{number}", "f") for number in range(3 * MAX_GONE)]
    whole = numbered((), there, NEVER)
    assert numbered(whole.known, there, NEVER).numbers == whole.numbers, "all that are there are remembered"


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9)), st.booleans()), max_size=12))
def test_in_a_trimmed_history_a_number_is_one_image(turns: Any) -> None:
    """In each turn: so many new images, of few kinds, old ones that are removed, and whether the tools see it."""
    known: Any = ()
    there: list[Attachment] = []
    numbers: dict[str, int] = {}
    for at, (new, removed, is_seen) in enumerate(turns):
        there = [each for place, each in enumerate(there) if place not in removed]
        there += [Attachment({}, f"message {at} {number}", f"image {number}") for number in range(new)]
        if is_seen:
            found = numbered(known, there, Moment(at, str(at), ""))
            known = found.known
            assert numbered(known, there, NEVER).known == known, "nothing is new, so nothing is written"
            for each, number in zip(there, found.numbers, strict=True):
                assert numbers.setdefault(each.fingerprint + each.message_id, number) == number
            assert len(set(found.numbers)) == len(there)
            for number in range(1, found.last + 1):
                place = found.place_of(number)
                assert place is None or there[place].fingerprint in {
                    key[:7] for key, given_number in numbers.items() if given_number == number
                }


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_an_image_that_stays_in_its_message_keeps_its_number(messages: Any, data: Any) -> None:
    """The images of each message are taken out, added to, and put in another order; those of each are unlike."""

    def conversation(messages: Any) -> list[Attachment]:
        return [Attachment({}, f"m{at}", f"image {image}") for at, held in enumerate(messages) for image in held]

    messages = [list(dict.fromkeys(each)) for each in messages]
    whole = conversation(messages)
    first = numbered((), whole, NEVER)
    assert first.numbers == tuple(range(1, len(whole) + 1))
    changed = conversation([data.draw(st.lists(st.integers(0, 4), unique=True, max_size=4)) for _ in messages])
    second = numbered(first.known, changed, NEVER)
    numbers = {(each.message_id, each.fingerprint): number for each, number in zip(whole, first.numbers, strict=True)}
    for each, number in zip(changed, second.numbers, strict=True):
        assert numbers.get((each.message_id, each.fingerprint), number) == number
    assert len(set(second.numbers)) == len(changed)
    assert numbered(second.known, changed, NEVER).known == second.known, "nothing is new, so nothing is written"


@given(st.lists(st.integers(0, 4), max_size=6), st.lists(st.integers(0, 4), max_size=6))
def test_what_was_seen_in_another_history_changes_nothing(before: list[int], after: list[int]) -> None:
    known = numbered((), [Attachment({}, f"a{at}", f"image {each}") for at, each in enumerate(before)], NEVER).known
    there = [Attachment({}, f"b{at}", f"image {each}") for at, each in enumerate(after)]
    found = numbered(known, there, NEVER, set(known))
    assert (found.numbers, found.last, found.again) == (tuple(range(1, len(after) + 1)), len(after), {})
