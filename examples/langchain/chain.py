"""A chain: a chat model writes a description, and the tool draws it. Needs a key in APIMASTER_API_KEY."""

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from stand_in import StandIn

from langchain_apimaster import APIMasterGenerateImageTool

prompt = ChatPromptTemplate.from_template("Describe, in two sentences for an illustrator: {idea}")
model = StandIn(script=[AIMessage("An orange cat on a wall at sunset. Watercolour, soft light, no text.")])
draw = APIMasterGenerateImageTool(store="pictures", expose=set(), defaults={"aspect_ratio": "16:9"})

chain = prompt | model | StrOutputParser() | draw
print(chain.invoke({"idea": "a cat in the evening"}))
