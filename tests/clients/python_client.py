"""The Python SDK (mcp 2.x) over Streamable HTTP, or straight to a server over stdio.

usage: python python_client.py '{"url": …, "key": …, "mode": "auto" | "legacy" | REVISION, "steps": […]}'

With "command": [PROGRAM, ARGUMENT, …] instead of "url" it starts the server itself: so the tests
learn what a server says to a client that has no gateway in between. The steps and what is printed
are those of steps.mjs. "answers" says by method what the server hears when it asks in mid-call.
"""
import functools
import json
import sys
import warnings

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (CreateMessageResult, ElicitResult, ListRootsResult, PromptReference,
                       ResourceTemplateReference)

warnings.filterwarnings("ignore")
job = json.loads(sys.argv[1])
logs = []
questions = []  # what the server asked in mid-call
updates = []  # URIs that changed
background = None  # a task group


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def pages(fetch, member):
    found, cursor = [], None
    while True:
        page = plain(await fetch(cursor=cursor))
        found += page[member]
        cursor = page.get("nextCursor")
        if cursor is None:
            return found


async def call(client, step):
    progress, before = [], len(logs)
    scope = anyio.CancelScope()

    async def on_progress(done, total, message):
        progress.append({"progress": done, "total": total, "message": message})
        if step.get("cancelAfter") == len(progress):
            scope.cancel()

    result = None
    with scope:
        result = plain(await client.call_tool(step["name"], step.get("arguments") or {}, meta=step.get("meta"),
                                              progress_callback=on_progress if step.get("progress") else None))
    answer = {"ok": result} if result is not None else {"error": {"code": None, "message": "cancelled"}}
    return {**answer, "progress": progress, "logs": logs[before:]}


async def listen(client, uri, *, task_status):
    async with client.listen(resource_subscriptions=[uri]) as events:
        task_status.started(events.honored)
        async for event in events:
            updates.append(str(event.uri))


async def subscribe(client, uri):
    if job.get("mode") == "legacy":
        return {"ok": plain(await client.subscribe_resource(uri))}
    honored = await background.start(functools.partial(listen, client, uri))
    assert uri in honored.resource_subscriptions, honored
    return {"ok": True}


def reference(ref):
    if ref["type"] == "ref/prompt":
        return PromptReference(type="ref/prompt", name=ref["name"])
    return ResourceTemplateReference(type="ref/resource", uri=ref["uri"])


async def perform(client, step):
    op = step["op"]
    if op == "call":
        return await call(client, step)
    if op == "tools":
        return {"ok": await pages(client.list_tools, "tools")}
    if op == "prompts":
        return {"ok": await pages(client.list_prompts, "prompts")}
    if op == "resources":
        return {"ok": await pages(client.list_resources, "resources")}
    if op == "templates":
        return {"ok": await pages(client.list_resource_templates, "resourceTemplates")}
    if op == "prompt":
        return {"ok": plain(await client.get_prompt(step["name"], step.get("arguments")))}
    if op == "read":
        return {"ok": plain(await client.read_resource(step["uri"]))}
    if op == "complete":
        context = (step.get("context") or {}).get("arguments")
        return {"ok": plain(await client.complete(reference(step["ref"]), step["argument"], context))}
    if op == "ping":
        return {"ok": plain(await client.send_ping())}
    if op == "subscribe":
        return await subscribe(client, step["uri"])
    if op == "updated":
        with anyio.fail_after(20):
            while step["uri"] not in updates:
                await anyio.sleep(0.02)
        return {"ok": True}
    if op == "level":
        return {"ok": plain(await client.set_logging_level(step["level"]))}
    raise ValueError(op)


def failure(e):
    return {"error": {"code": getattr(e, "code", None), "message": str(e)}}


async def take_message(message):
    if getattr(message, "method", None) == "notifications/resources/updated":
        updates.append(str(message.params.uri))


async def take_log(params):
    logs.append(plain(params))


def answering(method, result_type):
    """A callback that gives the job's answer; None where the job has none, so nothing is declared."""
    if method not in job.get("answers", {}):
        return None

    async def callback(context, *params):
        questions.append({"method": method, "params": plain(params[0]) if params else {}})
        return result_type.model_validate(job["answers"][method])

    return callback


async def session(server):
    mode = job.get("mode", "auto")
    level = job.get("logLevel", "debug") if mode != "legacy" else None
    async with Client(server, mode=mode, logging_callback=take_log, message_handler=take_message, log_level=level,
                      elicitation_callback=answering("elicitation/create", ElicitResult),
                      sampling_callback=answering("sampling/createMessage", CreateMessageResult),
                      list_roots_callback=answering("roots/list", ListRootsResult)) as client:
        results = []
        global background
        async with anyio.create_task_group() as background:
            for step in job["steps"]:
                try:
                    results.append(await perform(client, step))
                except Exception as e:
                    results.append(failure(e))
            background.cancel_scope.cancel()
        return {"version": client.protocol_version, "server": plain(client.server_info) if client.server_info else None,
                "capabilities": plain(client.server_capabilities), "instructions": client.instructions,
                "results": results, "questions": questions}


async def main():
    if "command" in job:
        program, *arguments = job["command"]
        return await session(StdioServerParameters(command=program, args=arguments, env=job.get("env")))
    headers = {"Authorization": f"Bearer {job['key']}"} if job.get("key") else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        return await session(streamable_http_client(job["url"], http_client=http))


try:
    out = anyio.run(main)
except BaseException as e:
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    out = {"failed": failure(e)}
print(json.dumps(out))
