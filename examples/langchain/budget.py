"""A budget: the agent may spend ten cents, and a tool says when they are gone. Needs a key in APIMASTER_API_KEY."""

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from stand_in import StandIn, call

from langchain_apimaster import APIMasterToolkit

model = StandIn(
    script=[
        call("generate_image", prompt="A birch grove in spring", n=2),
        call("submit_image", prompt="A birch grove in summer"),
        AIMessage("Two pictures are there; the budget does not allow a third."),
    ]
)

with APIMasterToolkit(store="pictures", budget_usd="0.10", allowed={"resolution": ["0.5K", "1K"]}) as toolkit:
    agent = create_agent(model, toolkit.get_tools())
    for message in agent.invoke({"messages": [HumanMessage("A birch grove in each season")]})["messages"]:
        print(f"{message.type}: {message.text}")
    print(f"spent: ${toolkit.budget.spent_usd} of ${toolkit.budget.limit_usd}")
