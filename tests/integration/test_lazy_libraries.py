"""Libraries that few need are loaded by whoever first does: not by a start, and missing they break nothing else."""
import json
import os
import re
import subprocess

import pytest
from conftest import ROOT, binary

LIBRARIES = {"libcurl.so.4": "libcurl4", "libarchive.so.13": "libarchive13"}
OK, FAILED = 0, 1


def mapped(pid):
    """The names of the shared libraries in a process, as libNAME."""
    with open(f"/proc/{pid}/maps") as f:
        return set(re.findall(r"/(lib[^/ ]*?)(?:-[\d.]+)?\.so", f.read()))


def run(*arguments, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    return subprocess.run([str(binary()), *[str(a) for a in arguments]], capture_output=True, text=True, timeout=60,
                          env={**clean, **env})


@pytest.fixture
def broken(tmp_path):
    """The environment of a machine on which neither can be loaded: what the loader finds first is no library."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    for name in LIBRARIES:
        (folder / name).write_bytes(b"")
    return {"LD_LIBRARY_PATH": str(folder)}


def test_a_gateway_loads_libarchive_at_its_first_backup_and_libcurl_never(gateway):
    gw = gateway()
    assert not gw.call_tool("time__get_current_time").get("isError")
    for pid in (gw.process.pid, *children(gw.process.pid)):
        libraries = mapped(pid)
        assert "libsqlite3" in libraries  # the pattern finds what is there
        assert not libraries & {"libcurl", "libarchive", "libxml2", "libldap"}, libraries
    for _ in range(2):
        assert gw.request("POST", "/api/v1/backup", {}).status == 200
    libraries = mapped(gw.process.pid)
    assert "libarchive" in libraries and "libcurl" not in libraries


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def test_commands_that_ask_nobody_load_neither():
    done = run("version", LD_DEBUG="libs")
    assert done.returncode == OK and "libcrypto" in done.stderr
    assert not re.search("libcurl|libarchive", done.stderr)


def test_a_command_without_libcurl_names_it_and_its_package(gateway, broken, tmp_path):
    gw = gateway()
    for command in (["tools"], ["health", gw.url], ["backup", tmp_path / "x.tar"]):
        done = run(*command, GATESPAN_URL=gw.mcp, GATESPAN_KEY=gw.key, **broken)
        assert done.returncode == FAILED, done
        assert re.search(r"gatespan: asking a running gateway needs libcurl\.so\.4, .*file too short.*libcurl4", done.stderr), done.stderr
    assert run("tools", GATESPAN_URL=gw.mcp, GATESPAN_KEY=gw.key).returncode == OK


def test_a_gateway_without_libarchive_serves_and_says_why_it_makes_no_backup(gateway, broken):
    gw = gateway(env=broken)
    assert not gw.call_tool("time__get_current_time").get("isError")
    answer = gw.request("POST", "/api/v1/backup", {})
    assert answer.status == 503
    assert re.search(r"making a backup needs libarchive\.so\.13.*libarchive13", answer.json["message"])
    assert not list(gw.data.glob("backup.tmp-*"))
    assert gw.request("GET", "/ready").status == 200


def test_without_libarchive_nothing_is_restored(gateway, broken, tmp_path):
    gw = gateway()
    archive = tmp_path / "a.tar"
    assert run("backup", archive, "--data", gw.data, "--url", gw.mcp, "--key", gw.key).returncode == OK
    target = tmp_path / "other"
    done = run("restore", archive, "--data", target, **broken)
    assert done.returncode == FAILED
    assert re.search(r"restoring a backup needs libarchive\.so\.13.*libarchive13", done.stderr), done.stderr


def test_doctor_finds_them_or_says_what_to_install(broken, tmp_path):
    def findings(**env):
        text = run("doctor", "--no-upstreams", "--data", tmp_path / "d", "-o", "json", **env).stdout
        return {f["says"]: f for f in json.loads(text) if f["check"] == "libraries"}
    there = findings()
    assert sorted(f["state"] for f in there.values()) == ["ok", "ok"]
    assert all(re.match(r"lib(curl|archive)\.so\.\d+ .*\d\.\d.* is there, for ", says) for says in there)
    missing = findings(**broken)
    assert sorted(f["state"] for f in missing.values()) == ["warning", "warning"]
    for soname, package in LIBRARIES.items():
        assert any(soname in says and package in f["remedy"] for says, f in missing.items())


def test_the_program_file_says_what_it_may_load():
    """ELF Dlopen Metadata, which packaging tools read."""
    content = binary().read_bytes()
    for soname in LIBRARIES:
        assert f'"priority":"recommended","soname":["{soname}"]}}]'.encode() in content


def test_packages_and_images_bring_them():
    """Nothing else says so: dpkg-shlibdeps and ldd see only what is linked."""
    depends = (ROOT / "debian" / "control").read_text().split("Package: gatespan", 1)[1]
    image = (ROOT / "deploy" / "Dockerfile").read_text().rsplit("FROM ", 1)[1]
    for package in LIBRARIES.values():
        assert package in re.split(r"[\s,|]+", depends), f"{package} is not in the Depends of debian/control"
        assert package in image.split(), f"{package} is not in the image of deploy/Dockerfile"
