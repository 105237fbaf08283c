"""HTTP operations and OpenAPI documents registered as tools."""
import http.server
import json
import threading
import urllib.parse

import pytest

TOOLS, SERVERS = "/api/v1/tools", "/api/v1/proxy/servers"
CANARY = "canary-31c9-never-shown"

PETS = {
    "openapi": "3.1.0", "info": {"title": "Pets", "version": "1"},
    "paths": {
        "/pets": {
            "get": {"operationId": "listPets", "summary": "Lists pets.", "parameters": [
                {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                {"$ref": "#/components/parameters/Limit"}, {"name": "X-Trace", "in": "header", "schema": {"type": "string"}}]},
            "post": {"operationId": "addPet", "requestBody": {"required": True, "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Pet"}}}}}},
        "/pets/{id}": {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                       "get": {"operationId": "show/pet"}, "delete": {}},
        "/upload": {"post": {"operationId": "upload", "requestBody": {"content": {"multipart/form-data": {}}}}},
    },
    "components": {
        "parameters": {"Limit": {"name": "limit", "in": "query", "description": "How many.",
                                 "schema": {"type": "integer", "maximum": 10}}},
        "schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "friend": {"$ref": "#/components/schemas/Pet"}}}}},
}


class Api(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked, or as its path says."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        path, _, query = self.path.partition("?")
        status, kind, out = 200, "application/json; charset=utf-8", json.dumps({
            "method": self.command, "path": path, "query": urllib.parse.parse_qsl(query, keep_blank_values=True),
            "body": json.loads(body) if body else None, "token": self.headers.get("X-Token"),
            "trace": self.headers.get("X-Trace")}).encode()
        if path == "/list":
            out = b"[1, 2]"
        elif path == "/text":
            kind, out = "text/plain", "grüezi".encode()
        elif path == "/image":
            kind, out = "image/png", b"\x89PNG"
        elif path == "/binary":
            kind, out = "application/octet-stream", b"\xff\x00"
        elif path == "/empty":
            status, out = 204, b""
        elif path.startswith("/status/"):
            status, out = int(path[8:]), b'{"why": "' + b"x" * 5000 + b'"}'
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def api():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def gw(module_gateway):
    return module_gateway()


def register(gw, **tool):
    answer = gw.request("POST", TOOLS + "?wait=ready", tool)
    assert answer.status == 201 and answer.json["live"]["state"] == "ready", answer.body
    return answer.json


def call(gw, name, **arguments):
    answer = gw.request("POST", f"{TOOLS}/{name}/execute", {"arguments": arguments})
    assert answer.status == 200, answer.body
    return answer.json


def test_one_operation_is_one_tool(gw, api):
    register(gw, name="weather", url=api + "/v1/weather/{city}?units={units}&lang=en&opt={opt}", description="Weather of a city.",
             headers={"X-Token": CANARY}, tags=["sky"],
             input_schema={"type": "object", "properties": {"city": {"type": "string", "minLength": 1}, "units": {"enum": ["C", "F"]}},
                           "required": ["city"]})
    shown = gw.request("GET", TOOLS + "/weather").json
    assert shown["description"] == "Weather of a city." and shown["tags"] == ["sky"] and shown["annotations"]["readOnlyHint"]
    got = call(gw, "weather", city="Zürich/../..", units="C", more=[1, "a&b"])["structured"]
    assert got["method"] == "GET" and got["path"] == "/v1/weather/Z%C3%BCrich%2F..%2F.." and got["token"] == CANARY
    assert got["query"] == [["units", "C"], ["lang", "en"], ["more", "1"], ["more", "a&b"]]
    assert gw.call_tool("weather", city="Bern")["structuredContent"]["query"] == [["lang", "en"]]
    for wrong in ({}, {"city": ".."}, {"city": 7}, {"city": "x", "units": "K"}):
        failed = call(gw, "weather", **wrong)
        assert failed["is_error"] and "Invalid arguments for weather" in failed["content"][0]["text"]
    answers = [gw.request("GET", path) for path in (TOOLS + "/weather", SERVERS, SERVERS + "/weather")]
    assert not [a for a in answers if CANARY.encode() in a.body] and CANARY not in gw.logs()
    assert gw.request("DELETE", TOOLS + "/weather").status == 204
    assert gw.request("GET", TOOLS + "/weather").status == 404


def test_a_body_has_what_the_url_does_not(gw, api):
    register(gw, name="change", method="PATCH", url=api + "/things/{id}")
    got = call(gw, "change", id="a b", size=3, nested={"x": None})["structured"]
    assert (got["method"], got["path"], got["body"]) == ("PATCH", "/things/a%20b", {"size": 3, "nested": {"x": None}})
    gw.request("DELETE", TOOLS + "/change")


def test_a_document_becomes_one_tool_for_each_operation(gw, api):
    register(gw, name="pets", url=api + "/api/", openapi=PETS)
    names = [t["name"] for t in gw.request("GET", TOOLS + "?upstream=pets").json["items"]]
    assert names == ["pets__addPet", "pets__delete_pets_id", "pets__listPets", "pets__show_pet"]
    schema = gw.request("GET", TOOLS + "/pets__addPet").json["input_schema"]
    assert schema["required"] == ["body"] and schema["properties"]["body"]["required"] == ["name"]
    got = call(gw, "pets__listPets", tag=["a", "b"], limit=2, **{"X-Trace": "t"})["structured"]
    assert got["path"] == "/api/pets" and got["query"] == [["tag", "a"], ["tag", "b"], ["limit", "2"]] and got["trace"] == "t"
    assert call(gw, "pets__addPet", body={"name": "Rex"})["structured"]["body"] == {"name": "Rex"}
    assert call(gw, "pets__show_pet", id=7)["structured"]["path"] == "/api/pets/7"
    assert call(gw, "pets__listPets", limit=11)["is_error"] and call(gw, "pets__addPet", body={})["is_error"]
    assert call(gw, "pets__listPets", **{"X-Trace": "a\r\nX-Token: stolen"})["is_error"]
    taken = gw.request("DELETE", TOOLS + "/pets__addPet")
    assert taken.status == 409 and "pets" in taken.json["message"]
    chosen = gw.request("PATCH", SERVERS + "/pets?wait=ready", {"api": {"include": ["list*"]}}, {"If-Match": "*"})
    assert chosen.status == 200 and chosen.json["live"]["tools"] == 1
    assert gw.request("DELETE", TOOLS + "/pets").status == 204


def test_variables_of_a_server_have_their_defaults(gw, api):
    """https://{host}/{version}: OpenAPI 3.1, "Server Object"."""
    document = {"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {"/x": {"get": {"operationId": "x"}}},
                "servers": [{"url": "{base}/{version}/", "variables": {"base": {"default": api},
                                                                       "version": {"default": "v2", "enum": ["v1", "v2"]}}}]}
    assert register(gw, name="versioned", openapi=document)["config"]["api"]["url"] == f"{api}/v2/"
    gw.request("DELETE", TOOLS + "/versioned")


def test_answers_of_every_kind_are_results(gw, api):
    def result(path):
        register(gw, name="kind", url=api + path)
        out = call(gw, "kind")
        assert gw.request("DELETE", TOOLS + "/kind").status == 204
        return out

    assert result("/list")["structured"] == {"result": [1, 2]}
    assert result("/text")["content"] == [{"type": "text", "text": "grüezi"}]
    assert result("/image")["content"] == [{"type": "image", "data": "iVBORw==", "mimeType": "image/png"}]
    assert "2 bytes of application/octet-stream" in result("/binary")["content"][0]["text"]
    assert result("/empty")["content"][0]["text"] == "204 No Content"
    missing = result("/status/404")
    assert missing["is_error"] and missing["content"][0]["text"].startswith('HTTP 404 Not Found from GET /status/404: {"why"')
    assert len(missing["content"][0]["text"]) < 2200
    moved = result("/status/302")
    assert moved["is_error"] and "redirects are not followed" in moved["content"][0]["text"]


@pytest.mark.parametrize("url", [
    "http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/", "http://[fd20:ce::254]/"])
def test_metadata_addresses_are_not_connected_to(gw, url):
    register(gw, name="cloud", url=url)
    answer = gw.request("POST", TOOLS + "/cloud/execute", {"timeout": "2s"})
    gw.request("DELETE", TOOLS + "/cloud")
    assert answer.status == 503 and "allow_link_local" in answer.json["message"], answer.body


@pytest.mark.parametrize("tool,status,says", [
    ({"name": "bad"}, 422, "url or openapi is needed"), ({"name": "bad", "url": "ftp://h/x"}, 422, "url"),
    ({"name": "a b", "url": "http://h/"}, 422, "name"), ({"name": "bad", "url": "http://h/{x"}, 422, "without its }"),
    ({"name": "bad", "url": "http://h/", "input_schema": {"pattern": "("}}, 422, "schema"),
    ({"name": "bad", "openapi": {"openapi": "2.0"}, "url": "http://h"}, 422, "OpenAPI 3"),
    ({"name": "bad", "openapi": {"swagger": "2.0", "host": "h", "paths": {}}}, 422, "Swagger 2.0"),
    ({"name": "bad", "openapi": "openapi: 3.0.0"}, 422, "a JSON object"),
    ({"name": "bad", "openapi": {"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}}, 422, "names no server"),
    ({"name": "bad", "openapi": {"openapi": "3.1.0", "servers": [{"url": "/v1"}], "paths": {"/a": {"get": {}}}}},
     422, 'only says \"/v1\"'),
    ({"name": "bad", "openapi": {"openapi": "3.1.0", "servers": [{"url": "http://h/{v}"}], "paths": {"/a": {"get": {}}}}},
     422, "url is needed"),
    ({"name": "bad", "url": "http://h/", "method": "TRACE"}, 400, "method")])
def test_a_bad_tool_is_refused_whole(gw, tool, status, says):
    answer = gw.request("POST", TOOLS, tool)
    assert answer.status == status and says in answer.json["message"], answer.body
    assert gw.request("GET", SERVERS + "/bad").status == 404


def test_tools_of_the_file_and_after_a_restart(gateway, api):
    config = {"upstreams": {"filed": {"api": {"url": api, "tools": [{"name": "show", "path": "/x/{id}"}]}}}}
    gw = gateway(config)
    register(gw, name="kept", url=api + "/kept")
    assert call(gw, "filed__show", id=1)["structured"]["path"] == "/x/1"
    assert gw.request("DELETE", TOOLS + "/filed").status == 409
    gw.stop()
    again = gateway(config, data=gw.data)
    assert call(again, "kept")["structured"]["path"] == "/kept"
