"""Official clients of both eras through one gateway to official servers of both eras, all at once.

What each server offers is asked from it without the gateway first; behind the gateway all of that
must be there under its name, no less and no more, and work.
"""
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import CLIENTS, free_port, run_client, run_client_job, wait_for

MODULES = CLIENTS / "node_modules" / "@modelcontextprotocol"

# How each client connects: (program, mode, revision it ends up with).
CLIENT_KINDS = {
    "typescript-1": ("legacy", None, "2025-11-25"),
    "typescript-2-pinned": ("modern", "2026-07-28", "2026-07-28"),
    "typescript-2-auto": ("modern", "auto", "2026-07-28"),
    "python-auto": ("python", "auto", "2026-07-28"),
    "python-legacy": ("python", "legacy", "2025-11-25"),
}
LEGACY = {"typescript-1", "python-legacy"}


def text_of(result):
    return "".join(c.get("text", "") for c in result["content"])


def call(name, progress=False, **arguments):
    return {"op": "call", "name": name, "arguments": arguments, "progress": progress,
            # what a modern client says to get log messages; others send it along for nothing
            "meta": {"io.modelcontextprotocol/logLevel": "debug"} if progress else None}


def complete_prompt(name, argument, value, **context):
    return {"op": "complete", "ref": {"type": "ref/prompt", "name": name},
            "argument": {"name": argument, "value": value}, **({"context": {"arguments": context}} if context else {})}


def complete_template(uri, argument, value):
    return {"op": "complete", "ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": argument, "value": value}}


def values(answer):
    return answer["ok"]["completion"]["values"]


# What is done with each server: [(step, check of its answer), …]. Names and URIs are those shown
# by the gateway.

def everything_steps(world):
    yield call("everything__echo", message="hällo"), lambda a: text_of(a["ok"]) == "Echo: hällo"
    yield call("everything__get-sum", a=2, b=3), lambda a: "5" in text_of(a["ok"])
    yield (call("everything__get-structured-content", location="Chicago"),
           lambda a: set(a["ok"]["structuredContent"]) == {"temperature", "conditions", "humidity"})
    yield (call("everything__get-tiny-image"),
           lambda a: [c["type"] for c in a["ok"]["content"]] == ["text", "image", "text"])
    yield (call("everything__get-resource-reference", resourceType="Text", resourceId=2),
           lambda a: a["ok"]["content"][1]["resource"]["uri"]
           == "gatespan+demo://everything/resource/dynamic/text/2")
    yield (call("everything__get-resource-links", count=2),
           lambda a: all(c["uri"].startswith("gatespan+demo://everything/") for c in a["ok"]["content"]
                         if c["type"] == "resource_link"))
    yield (call("everything__trigger-long-running-operation", progress=True, duration=0.3, steps=3),
           lambda a: [p["progress"] for p in a["progress"]] == [1, 2, 3] and a["progress"][-1]["total"] == 3)
    yield call("everything__get-sum", a="two", b=3), lambda a: a["ok"]["isError"]
    yield ({"op": "prompt", "name": "everything__args-prompt", "arguments": {"city": "Oslo"}},
           lambda a: "Oslo" in a["ok"]["messages"][0]["content"]["text"])
    yield ({"op": "prompt", "name": "everything__resource-prompt",
            "arguments": {"resourceType": "Text", "resourceId": "1"}},
           lambda a: a["ok"]["messages"][1]["content"]["resource"]["uri"]
           == "gatespan+demo://everything/resource/dynamic/text/1")
    yield complete_prompt("everything__completable-prompt", "department", "S"), lambda a: values(a) == ["Sales", "Support"]
    yield (complete_prompt("everything__completable-prompt", "name", "", department="Sales"),
           lambda a: values(a) == ["David", "Eve", "Frank"])
    yield (complete_template("gatespan+demo://everything/resource/dynamic/text/{resourceId}", "resourceId", "7"),
           lambda a: values(a) == ["7"])
    yield ({"op": "read", "uri": "gatespan+demo://everything/resource/dynamic/text/42"},
           lambda a: a["ok"]["contents"][0]["uri"] == "gatespan+demo://everything/resource/dynamic/text/42"
           and a["ok"]["contents"][0]["text"].startswith("Resource 42"))
    yield ({"op": "read", "uri": "gatespan+demo://everything/resource/dynamic/blob/4"},
           lambda a: a["ok"]["contents"][0]["blob"])


def filesystem_steps(world):
    note = world["files"] / "note.txt"
    yield (call("filesystem__read_text_file", path=str(note)), lambda a: "from the file" in text_of(a["ok"]))
    yield call("filesystem__list_directory", path=str(world["files"])), lambda a: "note.txt" in text_of(a["ok"])
    yield call("filesystem__read_text_file", path="/etc/hostname"), lambda a: a["ok"]["isError"]


def memory_steps(world):
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}
    yield call("memory__create_entities", entities=[entity]), lambda a: not a["ok"].get("isError")
    yield (call("memory__search_nodes", query="Ada"),
           lambda a: a["ok"]["structuredContent"]["entities"][0]["name"] == "Ada")


def python_steps(name):
    def steps(world):
        yield call(f"{name}__add", a=40, b=2), lambda a: a["ok"]["structuredContent"] == {"result": 42}
        yield (call(f"{name}__stepwise", progress=True, steps=3, pause=1),
               lambda a: [(p["progress"], p["message"]) for p in a["progress"]]
               == [(1, "step 1"), (2, "step 2"), (3, "step 3")])
        yield call(f"{name}__fails"), lambda a: a["ok"]["isError"]
        yield ({"op": "prompt", "name": f"{name}__greet", "arguments": {"city": "Rome"}},
               lambda a: a["ok"]["messages"][0]["content"]["text"] == "Say hello to Rome.")
        yield complete_prompt(f"{name}__greet", "city", "A"), lambda a: values(a) == ["Aachen", "Augsburg"]
        yield ({"op": "read", "uri": f"gatespan+py://{name}/motto"},
               lambda a: a["ok"]["contents"] == [{**a["ok"]["contents"][0], "text": "batteries included",
                                                  "uri": f"gatespan+py://{name}/motto"}])
        yield ({"op": "read", "uri": f"gatespan+py://{name}/city/Ulm"},
               lambda a: a["ok"]["contents"][0]["text"] == "Ulm is a city")
    return steps


def typescript_steps(world):
    yield call("typescript__multiply", a=6, b=7), lambda a: a["ok"]["structuredContent"] == {"product": 42}
    yield (call("typescript__stepwise", progress=True, steps=3, pause=1),
           lambda a: [p["progress"] for p in a["progress"]] == [1, 2, 3]
           and {"level": "warning", "data": "all steps done"}.items() <= a["logs"][0].items()
           and a["logs"][0]["logger"] == "typescript/stepper")
    # x-mcp-header: the client (modern) or the gateway (for a legacy one) writes Mcp-Param-Region
    yield call("typescript__region_echo", region="Zürich"), lambda a: text_of(a["ok"]) == "Zürich"
    yield ({"op": "prompt", "name": "typescript__review", "arguments": {"language": "c"}},
           lambda a: a["ok"]["messages"][0]["content"]["text"] == "Review this c code.")
    yield complete_prompt("typescript__review", "language", "c"), lambda a: values(a) == ["c", "cobol"]
    yield ({"op": "read", "uri": "gatespan+ts://typescript/square/9"},
           lambda a: a["ok"]["contents"][0]["text"] == "81")


STEPS = {
    "everything": everything_steps, "filesystem": filesystem_steps, "memory": memory_steps,
    "python-stdio": python_steps("python-stdio"), "python-http": python_steps("python-http"),
    "typescript": typescript_steps,
}


# ---- the world ------------------------------------------------------------------------------------

def own_lists(command_or_url):
    """What a server says without a gateway: {"tools": […], …}."""
    kinds = ["tools", "prompts", "resources", "templates"]
    answers = {"elicitation/create": {"action": "decline"}, "sampling/createMessage": {}, "roots/list": {"roots": []}}
    out = run_client_job("python", {**command_or_url, "mode": "legacy", "answers": answers, "steps": [{"op": k} for k in kinds]})
    return {**{k: r.get("ok", []) for k, r in zip(kinds, out["results"])}, "instructions": out["instructions"]}


def make_world(node, session_gateway, session_processes, tmp_path_factory):
    """For the fixture of that name, which test_connect.py uses too."""
    folder = tmp_path_factory.mktemp("servers")
    files = folder / "files"
    files.mkdir()
    (files / "note.txt").write_text("from the file")
    python_port, typescript_port = free_port(), free_port()
    helpers = [session_processes(sys.executable, CLIENTS / "python_server.py", python_port),
               session_processes(node, CLIENTS / "ts_server.mjs", typescript_port)]
    memory = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
    commands = {
        "everything": [node, str(MODULES / "server-everything" / "dist" / "index.js")],
        "filesystem": [node, str(MODULES / "server-filesystem" / "dist" / "index.js"), str(files)],
        "memory": [node, str(MODULES / "server-memory" / "dist" / "index.js")],
        "python-stdio": [sys.executable, str(CLIENTS / "python_server.py"), "stdio"],
    }
    upstreams = {name: {"command": c[0], "args": c[1:]} for name, c in commands.items()}
    upstreams["memory"]["env"] = memory
    urls = {"python-http": f"http://127.0.0.1:{python_port}/mcp", "typescript": f"http://127.0.0.1:{typescript_port}/mcp"}
    upstreams |= {name: {"url": url} for name, url in urls.items()}
    gw = session_gateway({"instructions": "Text of the gateway.", "upstreams": upstreams})
    gw.wait_ready(*upstreams)
    with ThreadPoolExecutor(3) as pool:
        own = {name: pool.submit(own_lists, {"command": c, "env": memory}) for name, c in commands.items()}
        own |= {name: pool.submit(own_lists, {"url": url}) for name, url in urls.items()}
        own = {name: f.result() for name, f in own.items()}
    assert all(h.poll() is None for h in helpers)
    return {"gateway": gw, "own": own, "files": files, "node": node, "runs": {}}


def run_of(world, kind):
    """What the client of that kind saw and did, once for all servers."""
    if kind not in world["runs"]:
        program, mode, _ = CLIENT_KINDS[kind]
        plan = [(name, step, check) for name in STEPS for step, check in STEPS[name](world)]
        lists = [{"op": k} for k in ("tools", "prompts", "resources", "templates")]
        out = run_client(program, world["gateway"], lists + [step for _, step, _ in plan], node=world["node"],
                         **({"mode": mode} if mode else {}))
        out["lists"] = {k["op"]: r.get("ok", r) for k, r in zip(lists, out["results"])}
        out["done"] = [(name, step, check, answer) for (name, step, check), answer
                       in zip(plan, out["results"][len(lists):])]
        world["runs"][kind] = out
    return world["runs"][kind]


matrix = pytest.mark.parametrize("kind,server", [(k, s) for k in CLIENT_KINDS for s in STEPS])


# ---- the tests --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_client_connects_in_its_era(world, kind):
    """P-031, P-042: each client ends up with the newest revision of its era."""
    out = run_of(world, kind)
    assert out["version"] == CLIENT_KINDS[kind][2]
    assert out["server"]["name"] == "gatespan"


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_capabilities_are_those_of_all_servers_together(world, kind):
    """P-625: tools, prompts, resources, completions and logging are there when any server has them."""
    capabilities = run_of(world, kind)["capabilities"]
    assert {"tools", "prompts", "resources", "completions", "logging"} <= set(capabilities)
    assert capabilities["tools"]["listChanged"] is True
    assert ("tasks" in capabilities) == (kind in LEGACY)  # the gateway keeps them itself; modern ones see an extension


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_instructions_are_merged(world, kind):
    """P-628: the gateway's own text, then each server's under its name."""
    text = run_of(world, kind)["instructions"]
    assert text.startswith("Text of the gateway.")
    for name in ("python-stdio", "python-http", "typescript"):
        assert f"## {name}" in text and world["own"][name]["instructions"] in text


@matrix
def test_everything_a_server_offers_is_there_under_its_name(world, kind, server):
    """P-600: NAME__tool and NAME__prompt, no less and no more."""
    lists, own = run_of(world, kind)["lists"], world["own"][server]
    for what in ("tools", "prompts"):
        shown = [i["name"] for i in lists[what] if i["name"].startswith(f"{server}__")]
        assert shown == [f"{server}__{i['name']}" for i in own[what]], what


@matrix
def test_resources_and_templates_are_there_under_their_uris(world, kind, server):
    """P-635, P-636: a rewritten URI names its server and keeps the rest."""
    lists, own = run_of(world, kind)["lists"], world["own"][server]

    def shown_as(uri):
        scheme, rest = uri.split("://", 1)
        return f"gatespan+{scheme}://{server}/{rest}"

    for what, member in (("resources", "uri"), ("templates", "uriTemplate")):
        shown = [i[member] for i in lists[what] if f"://{server}/" in i[member]]
        assert shown == [shown_as(i[member]) for i in own[what]], what


@matrix
def test_descriptions_and_schemas_travel_untouched(world, kind, server):
    """P-604: what a model reads is what the server wrote."""
    shown = {i["name"]: i for i in run_of(world, kind)["lists"]["tools"]}
    for own in world["own"][server]["tools"]:
        tool = shown[f"{server}__{own['name']}"]
        assert tool.get("description") == own.get("description")
        assert tool["inputSchema"] == own["inputSchema"]
        assert tool.get("annotations") == own.get("annotations")


@matrix
def test_calls_reads_gets_and_completions_work(world, kind, server):
    mine = [d for d in run_of(world, kind)["done"] if d[0] == server]
    assert mine
    for _, step, check, answer in mine:
        assert "ok" in answer, (step, answer)
        assert check(answer), (step, answer)


@pytest.mark.parametrize("kind", sorted(LEGACY))
def test_legacy_lists_carry_nothing_modern(world, kind):
    """P-415: no ttlMs, cacheScope or resultType reaches a legacy client."""
    session = world["gateway"].session()
    result = session.result("tools/list")
    assert not {"ttlMs", "cacheScope", "resultType"} & set(result)
    for tool in run_of(world, kind)["lists"]["tools"]:
        assert "ttlMs" not in json.dumps(tool)


@pytest.mark.parametrize("kind", sorted(LEGACY))
def test_ping_and_log_level(world, kind):
    """P-245, P-231: a legacy client pings and sets its level; messages below it stay away."""
    steps = [{"op": "ping"}, {"op": "level", "level": "error"},
             call("python-stdio__stepwise", progress=True, steps=1, pause=0),
             {"op": "level", "level": "debug"},
             call("python-stdio__stepwise", progress=True, steps=1, pause=0), {"op": "level", "level": "loud"}]
    program, mode, _ = CLIENT_KINDS[kind]
    results = run_client(program, world["gateway"], steps, node=world["node"],
                         **({"mode": mode} if mode else {}))["results"]
    assert "ok" in results[0] and "ok" in results[1]
    assert results[2]["logs"] == []
    assert [m["logger"] for m in results[4]["logs"]] == ["python-stdio/stepper"]
    assert "error" in results[5]


def test_modern_client_gets_log_messages_only_when_it_asks(world):
    """P-232: no logLevel on the request, no message."""
    plain = {"op": "call", "name": "typescript__stepwise", "arguments": {"steps": 1, "pause": 0}, "progress": True}
    loud = {**plain, "meta": {"io.modelcontextprotocol/logLevel": "error"}}
    results = run_client("modern", world["gateway"], [plain, loud], node=world["node"])["results"]
    assert [r["logs"] for r in results] == [[], []]
    assert [len(r["progress"]) for r in results] == [1, 1]


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_cancelled_call_ends_and_the_session_goes_on(world, kind):
    """P-243, P-165, P-414, P-445: the client gives up long calls; the next ones work."""
    program, mode, _ = CLIENT_KINDS[kind]
    steps = []
    for server, tool in (("python-stdio", "add"), ("python-http", "add"), ("typescript", "multiply")):
        steps += [{"op": "call", "name": f"{server}__stepwise", "arguments": {"steps": 600, "pause": 100},
                   "progress": True, "cancelAfter": 2}, call(f"{server}__{tool}", a=2, b=2)]
    results = run_client(program, world["gateway"], steps, node=world["node"],
                         **({"mode": mode} if mode else {}))["results"]
    for long, short in zip(results[::2], results[1::2]):
        assert "error" in long and len(long["progress"]) >= 2
        assert text_of(short["ok"]) == "4"
    wait_for(lambda: world["gateway"].metric("gatespan_exchanges_in_flight") == 0, what="nothing left in flight")


def test_pinned_client_discovers(world):
    """P-047: server/discover by itself."""
    out = run_client("modern", world["gateway"], [{"op": "discover"}], node=world["node"])
    discovered = out["results"][0]["ok"]
    assert discovered["supportedVersions"] == ["2026-07-28"]
    assert "tools" in discovered["capabilities"]


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["typescript-1", "typescript-2-pinned", "python-auto"])
def test_a_client_in_front_of_nothing_but_the_gateway(gateway, node, kind):
    """A newcomer's first call: no configuration, the time is there."""
    program, mode, _ = CLIENT_KINDS[kind]
    out = run_client(program, gateway(), [{"op": "tools"}, call("time__get_current_time", zone="Europe/Berlin")], node=node,
                     **({"mode": mode} if mode else {}))
    assert "time__get_current_time" in [t["name"] for t in out["results"][0]["ok"]]
    assert out["results"][1]["ok"]["structuredContent"]["zone"] == "Europe/Berlin"
