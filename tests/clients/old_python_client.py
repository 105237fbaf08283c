"""The Python SDK of the time of revisions 2024-11-05 (mcp 1.6, HTTP+SSE) and 2025-03-26 (mcp 1.9).

usage: python old_python_client.py '{"url": …, "key": …, "transport": "sse" | "http", "steps": […], "answers": {…}}'

In an environment of its own: python_r24.txt, python_r03.txt. The steps and what is printed are those of
steps.mjs. These SDKs neither put a progress token into a call by themselves nor say that one is given up,
so that is done here with their own types.
"""
import json
import sys

import anyio
import mcp.types as t
from mcp.client.session import ClientSession

job = json.loads(sys.argv[1])
logs = []
questions = []  # what the server asked in mid-call
updates = []  # URIs that changed
told = {}  # progress by its token


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def take_log(params):
    logs.append(plain(params))


async def take_message(message):
    note = getattr(message, "root", None)
    if isinstance(note, t.ResourceUpdatedNotification):
        updates.append(str(note.params.uri))
    if isinstance(note, t.ProgressNotification):
        told.setdefault(note.params.progressToken, []).append(plain(note.params))


def answering(method, result_type):
    if method not in job.get("answers", {}):
        return None

    async def callback(context, *params):
        questions.append({"method": method, "params": plain(params[0]) if params else {}})
        return result_type.model_validate(job["answers"][method])

    return callback


async def cancel_after(session, scope, token, request, count):
    while len(told.get(token, [])) < count:
        await anyio.sleep(0.01)
    await session.send_notification(t.ClientNotification(t.CancelledNotification(
        method="notifications/cancelled", params=t.CancelledNotificationParams(requestId=request))))
    scope.cancel()


async def call(session, step):
    before, token = len(logs), f"token-{session._request_id}"
    meta = {**step.get("meta", {}), **({"progressToken": token} if step.get("progress") else {})}
    params = t.CallToolRequestParams.model_validate({"name": step["name"], "arguments": step.get("arguments") or {},
                                                     **({"_meta": meta} if meta else {})})
    request = t.ClientRequest(t.CallToolRequest(method="tools/call", params=params))
    result = None
    async with anyio.create_task_group() as tasks:
        if step.get("cancelAfter"):
            tasks.start_soon(cancel_after, session, tasks.cancel_scope, token, session._request_id, step["cancelAfter"])
        result = plain(await session.send_request(request, t.CallToolResult))
        tasks.cancel_scope.cancel()
    answer = {"ok": result} if result is not None else {"error": {"code": None, "message": "cancelled"}}
    return {**answer, "progress": told.get(token, []), "logs": logs[before:]}


async def perform(session, step):
    op = step["op"]
    if op == "call":
        return await call(session, step)
    if op == "prompt":
        return {"ok": plain(await session.get_prompt(step["name"], step.get("arguments")))}
    if op == "read":
        return {"ok": plain(await session.read_resource(step["uri"]))}
    if op == "complete":
        return {"ok": plain(await session.complete(t.PromptReference(**step["ref"]), step["argument"]))}
    if op == "subscribe":
        return {"ok": plain(await session.subscribe_resource(step["uri"]))}
    if op == "updated":
        with anyio.fail_after(20):
            while step["uri"] not in updates:
                await anyio.sleep(0.02)
        return {"ok": True}
    if op == "level":
        return {"ok": plain(await session.set_logging_level(step["level"]))}
    raise ValueError(op)


def failure(e):
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    return {"error": {"code": getattr(getattr(e, "error", None), "code", None), "message": f"{type(e).__name__}: {e}"}}


def transport():
    headers = {"Authorization": f"Bearer {job['key']}"}
    if job["transport"] == "sse":
        from mcp.client.sse import sse_client
        return sse_client(job["url"], headers=headers)
    from mcp.client.streamable_http import streamablehttp_client
    return streamablehttp_client(job["url"], headers=headers)


async def main():
    async with transport() as streams, ClientSession(
            *streams[:2], sampling_callback=answering("sampling/createMessage", t.CreateMessageResult),
            list_roots_callback=answering("roots/list", t.ListRootsResult), logging_callback=take_log,
            message_handler=take_message) as session:
        about = await session.initialize()
        results = []
        for step in job["steps"]:
            try:
                results.append(await perform(session, step))
            except Exception as e:
                results.append(failure(e))
        print(json.dumps({"version": about.protocolVersion, "server": plain(about.serverInfo), "results": results,
                          "questions": questions}), flush=True)


try:
    anyio.run(main)
except BaseException as e:
    print(json.dumps({"failed": failure(e)}))
