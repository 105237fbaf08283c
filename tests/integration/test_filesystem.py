"""The built-in server filesystem: alone over stdio and HTTP, and behind the gateway, with the official
Python client; changes, progress, cancellation, kill -9."""
import base64
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import ADMIN_KEY, binary, run_client, run_client_job, start_gateway, wait_for
from test_upstreams import get_stream, listen, raw_call

EVERYTHING = ["read", "list", "write", "delete", "move", "copy"]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "files"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "a b.md").write_text("# Häuser\n")
    (folder / "note.txt").write_text("one\ntwo\nthree\n")
    (folder / "dot.png").write_bytes(base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="))
    return folder


def config(root, prefix=True, **options):
    options = {"root_path": str(root), "allowed_operations": EVERYTHING, **options}
    return {"builtins": [], "upstreams": {"filesystem": {"builtin": "filesystem", "prefix": prefix, "options": options}}}


def call(name, progress=False, **arguments):
    return {"op": "call", "name": name, "arguments": arguments, "progress": progress}


def text_of(result):
    return "".join(c.get("text", "") for c in result["content"])


# What is done with the server, under the names of a role alone or with the gateway's prefix.
def steps(tool, uri):
    return [
        {"op": "tools"}, {"op": "resources"}, {"op": "templates"},
        call(tool("read_text"), path="files/note.txt", tail=1),
        call(tool("read_media"), path="files/dot.png"),
        {"op": "read", "uri": uri("file:///files/docs/a%20b.md")},
        {"op": "complete", "ref": {"type": "ref/resource", "uri": uri("file:///{root}/{+path}")},
         "argument": {"name": "path", "value": "d"}, "context": {"arguments": {"root": "files"}}},
        call(tool("write"), path="files/new/x.txt", content="ü\n", create_parents=True),
        call(tool("edit"), path="files/note.txt", edits=[{"old_text": "two", "new_text": "2"}]),
        call(tool("search"), progress=True, content="Häuser"),
        call(tool("read_text"), path="/etc/passwd"),
        call(tool("list_directory"), path="files", limit=1),
        call(tool("delete"), path="files/new", recursive=True),
    ]


def check(out, root, tool, uri):
    answers = [a.get("ok", a) for a in out["results"]]
    tools, resources, templates, tail, media, read, completed, written, edited, found, outside, listed, deleted = answers
    assert {t["name"] for t in tools} == {tool(n) for n in (
        "read_text read_media read_many list_roots list_directory stat tree search write append create_directory edit "
        "move copy delete").split()}
    assert all(t["outputSchema"]["type"] == "object" and t["title"] for t in tools)
    hints = {t["name"]: t["annotations"] for t in tools}
    assert hints[tool("read_text")]["readOnlyHint"] and hints[tool("delete")]["destructiveHint"]
    assert [r["uri"] for r in resources] == [uri(f"file:///files/{p}") for p in ("docs/a%20b.md", "dot.png", "note.txt")]
    assert [t["uriTemplate"] for t in templates] == [uri("file:///{root}/{+path}")]
    assert text_of(tail) == "three\n" and tail["structuredContent"]["content"] == "three\n"
    assert base64.b64decode(media["content"][1]["data"]) == (root / "dot.png").read_bytes()
    assert read["contents"][0]["text"] == "# Häuser\n" and read["contents"][0]["mimeType"] == "text/markdown"
    assert completed["completion"]["values"] == ["docs/", "dot.png"]
    assert written["structuredContent"]["created"]
    assert "-two\n+2\n" in edited["structuredContent"]["diff"] and (root / "note.txt").read_text() == "one\n2\nthree\n"
    assert "structuredContent" in found, found
    assert [(m["path"], m["line"]) for m in found["structuredContent"]["matches"]] == [("files/docs/a b.md", 1)]
    assert out["results"][9]["progress"]
    assert outside["isError"] and "below none of the roots" in text_of(outside)
    assert listed["structuredContent"]["next_cursor"]
    assert deleted["structuredContent"]["removed"] == 2 and not (root / "new").exists()


def own(name):
    return name


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_alone_over_stdio(root, tmp_path, mode):
    path = tmp_path / "files.json"
    path.write_text(json.dumps(config(root, prefix=False)))
    command = [str(binary()), "serve", "--role", "server:filesystem", "--stdio", "--config", str(path)]
    out = run_client_job("python", {"command": command, "mode": mode, "steps": steps(own, own)})
    check(out, root, own, own)
    assert out["capabilities"]["resources"]["listChanged"] and "completions" in out["capabilities"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_alone_over_http(gateway, root, mode):
    gw = gateway(config(root), "--role", "server:filesystem")
    wait_for(lambda: gw.upstream("filesystem")["state"] == "ready", what="ready")
    check(run_client("python", gw, steps(own, own), mode=mode), root, own, own)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_behind_the_gateway(gateway, root, mode):
    gw = gateway(config(root)).wait_ready("filesystem")

    def tool(name):
        return f"filesystem__{name}"

    def uri(original):
        return original.replace("file://", "gatespan+file://filesystem/", 1)

    check(run_client("python", gw, steps(tool, uri), mode=mode), root, tool, uri)


def test_alone_it_listens_on_8501(tmp_path, processes):
    server = processes(binary(), "serve", "--role", "server:filesystem", "--data", tmp_path / "data",
                       env={**os.environ, "GATESPAN_ADMIN_KEY": ADMIN_KEY})
    # where that port is somebody else's the refusal names it too
    wait_for(lambda: "127.0.0.1:8501" in "".join(server.lines), what="the address in the log")


def test_without_options_it_has_a_folder_in_the_data_directory(gateway):
    gw = gateway({"builtins": ["filesystem"]}).wait_ready("filesystem")
    gw.call_tool("filesystem__write", path="files/a.txt", content="x")
    assert (gw.data / "files" / "a.txt").read_text() == "x"
    assert not any(t.endswith(("__delete", "__move", "__copy")) for t in gw.tools())


def test_the_schema_of_other_gateways(gateway, root):
    gw = gateway(f"""
mcp:
  servers:
    filesystem: {{enabled: true, port: 8501, root_path: {root}, allowed_operations: [read, list]}}
""").wait_ready("filesystem")
    assert {t.removeprefix("filesystem__") for t in gw.tools() if t.startswith("filesystem__")} == {
        "read_text", "read_media", "read_many", "list_roots", "list_directory", "stat", "tree", "search"}


def test_a_root_that_is_missing_is_named_and_taken_when_it_comes(gateway, tmp_path):
    late = tmp_path / "late"
    gw = gateway(config(late))
    wait_for(lambda: str(late) in (gw.upstream("filesystem").get("reason") or ""), what="the reason")
    late.mkdir()
    gw.wait_ready("filesystem")


@pytest.mark.parametrize("options,wanted", [
    ({"allowed_operations": ["fly"]}, "allowed_operations[0] is none of read, list, write, delete, move, copy"),
    ({"root_path": "files"}, "root_path is not absolute"),
    ({"max_depth": 0}, "max_depth"),
    ({"roots": {"a b": {"path": "/srv"}}}, "a name is 1 to 64"),
])
def test_wrong_options_are_found_before_the_start(tmp_path, options, wanted):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"upstreams": {"fs": {"builtin": "filesystem", "options": options}}}))
    done = subprocess.run([binary(), "check", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "upstreams.fs.options" in done.stderr and wanted in done.stderr, done.stderr


# ---- changes ------------------------------------------------------------------------------------------


def uris(gw):
    return [r["uri"].rsplit("/", 1)[1] for r in gw.modern("resources/list").message["result"]["resources"]]


def test_new_and_vanished_files_are_told(gateway, root):
    gw = gateway(config(root)).wait_ready("filesystem")
    streams = [get_stream(gw, gw.session()), listen(gw, resourcesListChanged=True)]
    wait_for(lambda: gw.metric("gatespan_streams_open") == 2, what="two streams")

    def told():
        return [s.methods().count("notifications/resources/list_changed") for s in streams]

    (root / "docs" / "new.txt").write_text("x")
    wait_for(lambda: "new.txt" in uris(gw) and min(told()) >= 1, what="the new file")
    (root / "later").mkdir()
    (root / "later" / "deep.txt").write_text("x")
    wait_for(lambda: "deep.txt" in uris(gw), what="a file in a new directory")
    (root / "later" / "second.txt").write_text("x")
    wait_for(lambda: "second.txt" in uris(gw), what="a second one there")
    before = told()
    (root / "docs").rename(root.parent / "docs")
    wait_for(lambda: "new.txt" not in uris(gw) and all(n > b for n, b in zip(told(), before)), what="the directory gone")
    before = None
    while before != (before := told()):  # what is told later than it is listed
        time.sleep(2)
    (root.parent / "docs" / "unseen.txt").write_text("x")
    (root / "note.txt").write_text("changed, not new")
    gw.call_tool("filesystem__write", path="files/note.txt", content="again")
    time.sleep(1)  # nothing is to come, so there is nothing to wait for
    assert told() == before
    for s in streams:
        s.close()


def test_a_flood_of_changes_ends_in_the_right_list(gateway, root):
    gw = gateway(config(root, resources=50000)).wait_ready("filesystem")
    for i in range(20000):  # more than the kernel's queue holds
        (root / "docs" / f"{i}").touch()
    for i in range(0, 20000, 2):
        (root / "docs" / f"{i}").unlink()
    wait_for(lambda: gw.upstream("filesystem")["resources"] == 10003, what="10003 resources")


def test_beyond_the_bound_nothing_is_watched_and_it_says_so(gateway, root):
    gw = gateway(config(root, watches=1)).wait_ready("filesystem")
    gw.wait_log("not all directories are watched")
    (root / "seen.txt").touch()
    wait_for(lambda: "seen.txt" in uris(gw), what="what is in the watched one")


# ---- long searches ------------------------------------------------------------------------------------


@pytest.fixture
def forest(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(4000):  # progress counts them, so each takes little
        (folder / f"{i}.txt").write_text("abcdefghij " * 1000 + "\n")
    return folder


# Ends in no letter that must be there, for which the engine would look first: far longer than any search_time here.
SLOW = {"content": "(?:[a-e]|[f-j])+(?:[a-e]|[f-j])+[yz]", "regex": True}


def test_a_long_search_tells(gateway, forest):
    gw = gateway({**config(forest, search_time="5s"), "workers": 1}).wait_ready("filesystem")
    answer, = run_client("python", gw, [call("filesystem__search", progress=True, **SLOW)])["results"]
    assert answer["ok"]["structuredContent"]["stopped"] == "time"
    assert len(answer["progress"]) >= 3
    done = [p["progress"] for p in answer["progress"]]
    assert done == sorted(done)


def test_a_long_search_blocks_nobody(gateway, forest):
    gw = gateway({**config(forest, search_time="5m"), "workers": 1}).wait_ready("filesystem")
    searching = raw_call(gw, "filesystem__search", SLOW)
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") >= 1, what="the search running")
    assert not gw.call_tool("filesystem__stat", path="files/1.txt").get("isError")
    searching.setblocking(False)
    with pytest.raises(BlockingIOError):
        searching.recv(1)
    searching.close()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the search ended")


def test_a_cancelled_search_ends(gateway, forest):
    gw = gateway(config(forest, search_time="5m")).wait_ready("filesystem")
    step = {**call("filesystem__search", progress=True, **SLOW), "cancelAfter": 1}
    out = run_client("python", gw, [step, call("filesystem__stat", path="files/1.txt")], mode="legacy", seconds=60)
    assert out["results"][1]["ok"]["structuredContent"]["type"] == "file"
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the search ended")


# ---- kill -9 ------------------------------------------------------------------------------------------


def test_kill_9_leaves_whole_files_and_the_next_start_cleans(tmp_path, root):
    data, target = tmp_path / "data", root / "big.txt"
    for round_ in range(5):
        gw = start_gateway(tmp_path, config(root), data=data).wait_ready("filesystem")
        stop = threading.Event()

        def write():
            for letter in "ab" * 1000:
                if stop.is_set():
                    return
                try:
                    gw.call_tool("filesystem__write", path="files/big.txt", content=letter * 2000000)
                except (OSError, AssertionError, ValueError):
                    return

        threads = [threading.Thread(target=write) for _ in range(3)]
        for t in threads:
            t.start()
        wait_for(lambda: target.exists(), what="the first write")
        time.sleep(0.05 * round_)
        os.killpg(gw.process.pid, signal.SIGKILL)
        gw.process.wait()
        stop.set()
        for t in threads:
            t.join()
        text = target.read_text()
        assert len(text) == 2000000 and len(set(text)) == 1
    gw = start_gateway(tmp_path, config(root), data=data).wait_ready("filesystem")
    assert not [p for p in os.listdir(root) if p.startswith(".gatespan-")]
    assert gw.stop() == 0


def test_a_file_too_large_is_an_error_and_not_the_end(tmp_path, root):
    path = tmp_path / "files.json"
    path.write_text(json.dumps(config(root, prefix=False)))
    command = ["bash", "-c", "ulimit -f 100; exec \"$0\" \"$@\"", str(binary()), "serve", "--role", "server:filesystem",
               "--stdio", "--config", str(path)]
    out = run_client_job("python", {"command": command, "mode": "legacy", "steps": [
        call("write", path="files/note.txt", content="x" * 120000), call("read_text", path="files/note.txt")]})
    assert out["results"][0]["ok"]["isError"] and "larger than a file may be" in text_of(out["results"][0]["ok"])
    assert text_of(out["results"][1]["ok"]) == "one\ntwo\nthree\n"
    assert sorted(os.listdir(root)) == ["docs", "dot.png", "note.txt"]


def test_a_kernel_without_openat2_is_refused_with_the_reason(tmp_path, root):
    """As in old containers: seccomp answers openat2 with ENOSYS."""
    path = tmp_path / "files.json"
    path.write_text(json.dumps(config(root, prefix=False)))
    helper = tmp_path / "no_openat2.py"
    helper.write_text(NO_OPENAT2)
    done = subprocess.run(["python3", str(helper), str(binary()), "serve", "--role", "server:filesystem", "--stdio",
                           "--config", str(path)], input="", capture_output=True, text=True, timeout=60)
    assert "refuses openat2 (ENOSYS)" in done.stderr, done.stderr


# seccomp filter by hand: load the number; 437 is openat2 on every architecture; ENOSYS, else allow.
NO_OPENAT2 = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
rules = b"".join(struct.pack("HBBI", *r) for r in [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050026),
                                                   (0x06, 0, 0, 0x7fff0000)])
room = ctypes.create_string_buffer(rules)
program = struct.pack("HxxxxxxQ", len(rules) // 8, ctypes.addressof(room))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""
