"""A server made with the Python SDK 2.x, both eras: python python_server.py stdio | PORT"""
import logging
import sys
import warnings

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion, ToolAnnotations

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
