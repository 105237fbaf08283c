"""A server made with the Python SDK 2.x, both eras: python python_server.py stdio | PORT"""
import logging
import sys
import warnings

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (Completion, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest,
                       ElicitRequestFormParams, InputRequiredResult, ListRootsRequest, SamplingMessage, TextContent,
                       ToolAnnotations)

warnings.filterwarnings("ignore")  # logging is deprecated, and still to be passed on
server = MCPServer("python-fixture", version="1.0.0", instructions="Add with the Python server.", log_level="ERROR")
cities = ["Aachen", "Augsburg", "Berlin"]


@server.tool(description="Two numbers to their sum", annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    return a + b


@server.tool(description="Reports progress and logs")
async def stepwise(steps: int, pause: float, ctx: Context) -> str:
    for i in range(1, steps + 1):
        await ctx.report_progress(i, steps, f"step {i}")
        await anyio.sleep(pause / 1000)
    await ctx.log("warning", "all steps done", logger_name="stepper")
    return f"{steps} steps"


@server.tool(description="Always goes wrong")
def fails() -> str:
    raise ValueError("as it should")


def question(kind):
    if kind == "roots":
        return ListRootsRequest()
    if kind == "sampling":
        text = TextContent(type="text", text="2 + 2?")
        return CreateMessageRequest(params=CreateMessageRequestParams(
            messages=[SamplingMessage(role="user", content=text)], max_tokens=5))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return ElicitRequest(params=ElicitRequestFormParams(message="Who is it?", requested_schema=schema))


@server.tool(description="Asks for elicitation, sampling or roots in mid-call")
def ask(kind: str, ctx: Context) -> str | InputRequiredResult:
    answer = (ctx.input_responses or {}).get("it")
    return answer.model_dump_json() if answer else InputRequiredResult(input_requests={"it": question(kind)})


@server.tool(description="Says that the motto has changed")
async def touch(ctx: Context) -> str:
    await ctx.notify_resource_updated("py://motto")
    return "touched"


@server.prompt(description="Say hello to a city")
def greet(city: str) -> str:
    return f"Say hello to {city}."


@server.completion()
async def complete(ref, argument, context):
    return Completion(values=[c for c in cities if c.startswith(argument.value)])


@server.resource("py://motto", mime_type="text/plain")
def motto() -> str:
    return "batteries included"


@server.resource("py://city/{name}", mime_type="text/plain")
def city(name: str) -> str:
    return f"{name} is a city"


logging.disable(logging.CRITICAL)
if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
