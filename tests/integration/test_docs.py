"""Every code block of README.md and docs/guide is run, or validated by what it is.

The sh and console blocks of a page run one after the other in one shell, in a home of their own,
with `gatespan` (and build/gatespan) in reach and a gateway running: 127.0.0.1:8000 stands for its
address, gs_… for its key, /srv for a folder. A server that a block starts is ended as soon as it
listens. yaml and json blocks are configurations that `gatespan check` takes, or just valid.

A block that cannot run says why in a comment in front of it: <!-- not run: the reason -->.
"""
import json
import os
import re
import stat
import subprocess
import sys

import pytest
import yaml
from conftest import ADMIN_KEY, ROOT, binary

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
SHELLS, DATA, OTHER = {"sh", "console", "bash"}, {"yaml", "json"}, {"python"}
PLAIN = {"", "text"}  # drawings
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.*?) -->\s*\n)?^(?P<fence>```+)(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$",
                   re.S | re.M)


def blocks(page):
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("fence")) + 1
        yield match["kind"], match["text"], match["reason"], f"{page.relative_to(ROOT)}:{line}"


ALL = [b for page in PAGES for b in blocks(page)]


def of(kinds):
    return [pytest.param(kind, text, id=where) for kind, text, reason, where in ALL if kind in kinds and not reason]


def test_every_block_is_of_a_kind_that_is_tested():
    assert len(ALL) > 20
    assert [where for kind, _, _, where in ALL if kind not in SHELLS | DATA | OTHER | PLAIN] == []


def test_what_is_not_run_says_why(capsys):
    left_out = [(where, reason) for _, _, reason, where in ALL if reason]
    assert all(len(reason) > 10 for _, reason in left_out)
    with capsys.disabled():
        print("\nblocks of the guide that are not run:")
        for where, reason in left_out:
            print(f"  {where}: {reason}")


# ---- a place to run in

# Starts a server for as long as it takes to listen, on a port that is free.
WRAPPER = r'''#!/bin/bash
if [ "$1" != serve ]; then exec REAL "$@"; fi
shift
arguments=()
while [ $# -gt 0 ]; do
    case $1 in --listen) shift ;; --stdio) exec REAL serve "${arguments[@]}" "$@" </dev/null ;; *) arguments+=("$1") ;; esac
    shift
done
log=$(mktemp)
REAL serve "${arguments[@]}" --listen 127.0.0.1:0 >"$log" 2>&1 &
server=$!
for _ in $(seq 1200); do grep -q '"event":"listening"' "$log" && break; kill -0 $server 2>/dev/null || break; sleep 0.1; done
grep -q '"event":"listening"' "$log" || { cat "$log" >&2; exit 1; }
kill -TERM $server
wait $server
'''
HARMLESS = {"mcpServers": {"notes": {"command": "cat"}}}
FILES = {".config/Claude/claude_desktop_config.json": HARMLESS, ".cursor/mcp.json": HARMLESS, "servers.json": HARMLESS,
         ".vscode/mcp.json": {"servers": {"other": {"command": "cat"}}}, "gatespan.yaml": {"upstreams": {"clock": {"builtin": "time"}}}}


@pytest.fixture
def place(tmp_path):
    """A home, and the text of a block as it can be run there."""
    home = tmp_path / "home"
    (home / "build").mkdir(parents=True)
    for name in ("notes", "data", "docs", "web", "handbook"):
        (tmp_path / "srv" / name).mkdir(parents=True)
    for name, content in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(json.dumps(content))
    wrapper = home / "build" / "gatespan"
    wrapper.write_text(WRAPPER.replace("REAL", str(binary())))
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    env |= {"HOME": str(home), "XDG_DATA_HOME": "", "PATH": f"{home / 'build'}:{os.environ['PATH']}", "TERM": "dumb"}

    class Place:
        def text(self, block):
            return re.sub(r"(?<![\w.])/srv/", f"{tmp_path}/srv/", block)
    Place.home, Place.env = home, env
    return Place()


# ---- shell

def script(page):
    lines = []
    for kind, text, reason, where in blocks(page):
        if kind not in SHELLS or reason:
            continue
        if kind == "console":
            text = "".join(line[2:] + "\n" for line in text.splitlines() if line.startswith("$ "))
        lines += [f"at={where}", text]
    return "\n".join(lines)


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES if script(p)])
def test_commands(page, gateway, place):
    gw = gateway(None).wait_ready("time")
    text = place.text(script(page)).replace("127.0.0.1:8000", f"127.0.0.1:{gw.port}").replace("gs_…", ADMIN_KEY)
    url = gw.url if "GATESPAN_URL/api" in text else gw.mcp
    env = place.env | {"GATESPAN_URL": url, "GATESPAN_KEY": ADMIN_KEY, "ADMIN": ADMIN_KEY}
    prelude = "set -eu -o pipefail\nshopt -s expand_aliases\nat=start\ntrap 'echo \"failed in the block at $at\" >&2' ERR\nset -E\n"
    done = subprocess.run(["bash", "-c", prelude + text], cwd=place.home, env=env, text=True, capture_output=True, timeout=500,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


# ---- data

def variables(text):
    return {name: f"value-of-the-variable-{name.lower()}" for name in re.findall(r"\$\{(?:env:)?([A-Za-z_]\w*)\}", text)}


@pytest.mark.parametrize("kind, text", of(DATA))
def test_data(kind, text, place):
    text = place.text(text)
    document = yaml.safe_load(text) if kind == "yaml" else json.loads(text)
    if not isinstance(document, dict):
        return
    path = place.home / f"block.{kind}"
    path.write_text(text)
    env = place.env | variables(text) | {"GATESPAN_INPUT_" + n.upper(): "x" for n in re.findall(r"\$\{input:(\w+)\}", text)}
    done = subprocess.run([str(binary()), "check", str(path)], env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind, text", of(OTHER))
def test_programs(kind, text, place, gateway):
    gw = gateway(None).wait_ready("time")
    text = place.text(text).replace("127.0.0.1:8000", f"127.0.0.1:{gw.port}").replace("gs_…", ADMIN_KEY)
    done = subprocess.run([sys.executable, "-c", text], cwd=place.home, env=place.env | {"GATESPAN_KEY": ADMIN_KEY}, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
