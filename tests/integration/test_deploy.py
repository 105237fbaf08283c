"""What is shipped beside the program: it is well-formed, hardened, and the layout of the roles works.

No container engine is needed: roles run as processes in network namespaces of their own, joined by a veth pair.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request

import pytest
import yaml
from conftest import ADMIN_KEY, binary, free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
LINTERS = os.pathsep.join([os.environ.get("TEST_LINT_BIN", ""), os.environ["PATH"]])


def run(*command, **options):
    options.setdefault("timeout", 60)
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)


# ---- gatespan health


def test_health_says_how_it_is(gateway):
    gw = gateway()
    assert run(binary(), "health", gw.url).returncode == 0
    assert run(binary(), "health", gw.mcp, "--live").returncode == 0
    assert run(binary(), "health", env={**os.environ, "GATESPAN_URL": gw.mcp}).returncode == 0
    gw.stop()
    gone = run(binary(), "health", gw.url, "--timeout", "2")
    assert gone.returncode == 1 and gw.url in gone.stderr


def test_health_waits_for_required_upstreams(gateway):
    gw = gateway({"builtins": [], "upstreams": {"gone": {"command": "/nonexistent", "required": True}}})
    assert run(binary(), "health", gw.url).returncode == 1
    assert run(binary(), "health", gw.url, "--live").returncode == 0
    assert run(binary(), "health", "no url").returncode == 2


# ---- files


@pytest.mark.parametrize("name", ["gatespan.yaml", "roles.yaml"])
def test_examples_are_right(name):
    done = run(binary(), "check", DEPLOY / "config" / name, env={**os.environ, "TIME_KEY": ADMIN_KEY})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["compose.yaml", "compose.roles.yaml"])
def test_compose_files_are_closed(name):
    services = yaml.safe_load((DEPLOY / name).read_text())["services"]
    assert services
    for service in services.values():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), mount
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "not open to the network unless somebody wants it"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.roles.yaml"])
def test_compose_reads_them(name):
    compose = shutil.which("docker-compose", path=LINTERS)
    if not compose:
        pytest.skip("docker-compose is not installed, and TEST_LINT_BIN names no folder with it")
    done = run(compose, "-f", DEPLOY / name, "config")
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_is_closed_and_linted():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    last = [line for line in lines if line.split()[:1] == ["USER"]][-1]
    assert last.split()[1] not in ("root", "0")
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    hadolint = shutil.which("hadolint", path=LINTERS)
    if not hadolint:
        pytest.skip("hadolint is not installed, and TEST_LINT_BIN names no folder with it")
    done = run(hadolint, DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout


# ---- systemd


@pytest.fixture
def unit(tmp_path):
    path = tmp_path / "gatespan.service"
    path.write_text((DEPLOY / "systemd" / "gatespan.service.in").read_text().replace("@bindir@", str(binary().parent)))
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    return path


def test_systemd_reads_the_unit(unit):
    done = run("systemd-analyze", "verify", "--man=no", unit)
    if "Failed to" in done.stderr and "bus" in done.stderr:
        pytest.skip(f"systemd-analyze verify does not work here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0 and "gatespan.service" not in done.stderr, done.stderr


def test_the_unit_is_hardened(unit):
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    if done.returncode and not done.stdout:
        pytest.skip(f"systemd-analyze security does not work here: {done.stderr.strip()}")
    figure = done.stdout.strip().splitlines()[-1]
    print(figure)
    assert float(figure.split(":")[-1].split()[0]) < 3.0, done.stdout


# ---- installed


def _installs():
    ours = ROOT / "build" / "meson" / "src" / "cli" / "gatespan"
    if sys.platform != "linux" or not ours.exists() or binary().resolve() != ours.resolve():
        pytest.skip("installs what make builds, not another binary")


@pytest.mark.slow
@pytest.mark.timeout(5000)
def test_make_install_installs_all_and_keeps_a_configuration(tmp_path):
    _installs()
    where = tmp_path / "root"
    done = run("make", "install", f"DESTDIR={where}", "PREFIX=/usr", cwd=ROOT, timeout=2400)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("usr/bin/gatespan", "usr/lib/systemd/system/gatespan.service", "etc/gatespan/gatespan.yaml",
                 "usr/share/man/man1/gatespan.1", "usr/share/bash-completion/completions/gatespan.bash",
                 "usr/share/doc/gatespan/examples/gatespan.yaml"):
        assert (where / name).exists(), name
    assert "/usr/bin/gatespan serve" in (where / "usr/lib/systemd/system/gatespan.service").read_text()
    assert "gatespan" in run(where / "usr/bin/gatespan", "version").stdout
    (where / "etc/gatespan/gatespan.yaml").write_text("builtins: []\n")
    assert run("make", "install", f"DESTDIR={where}", "PREFIX=/usr", cwd=ROOT, timeout=2400).returncode == 0
    assert (where / "etc/gatespan/gatespan.yaml").read_text() == "builtins: []\n"


@pytest.mark.slow
@pytest.mark.timeout(5000)
def test_the_debian_package_is_made_and_clean(tmp_path):
    _installs()
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh"):
        pytest.skip("debhelper is not installed: apt-get install debhelper fakeroot lintian")
    done = run("tools/deb", cwd=ROOT, timeout=2400)
    assert done.returncode == 0, done.stdout + done.stderr
    package = next(p for p in (ROOT / "build" / "deb").glob("gatespan_*.deb"))
    listed = run("dpkg-deb", "--contents", package).stdout
    for name in ("./usr/bin/gatespan", "/systemd/system/gatespan.service", "./etc/gatespan/gatespan.yaml", "gatespan.1.gz"):
        assert name in listed, listed
    depends = run("dpkg-deb", "--field", package, "Depends").stdout
    assert "libcurl4" in depends and "libarchive13" in depends, "loaded at their first use, so not found by dpkg-shlibdeps"
    run("dpkg-deb", "--extract", package, tmp_path)
    assert "gatespan" in run(tmp_path / "usr/bin/gatespan", "version").stdout
    if shutil.which("lintian"):
        said = run("lintian", "--fail-on", "error", package, timeout=120)
        print(said.stdout)
        assert said.returncode == 0, said.stdout


# ---- roles in namespaces of their own


class Namespaces:
    """Two network namespaces and a wire between them."""

    def __init__(self):
        tag = f"{os.getpid() % 100000}"
        self.names = [f"gs-gw-{tag}", f"gs-time-{tag}"]
        self.addresses = ["10.213.7.1", "10.213.7.2"]
        ends = [f"gsa{tag}", f"gsb{tag}"]
        for name in self.names:
            self.ip("netns", "add", name)
        self.ip("link", "add", ends[0], "netns", self.names[0], "type", "veth", "peer", ends[1], "netns", self.names[1])
        for name, address, end in zip(self.names, self.addresses, ends):
            self.ip("-n", name, "addr", "add", address + "/24", "dev", end)
            self.ip("-n", name, "link", "set", end, "up")
            self.ip("-n", name, "link", "set", "lo", "up")

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)

    def inside(self, which, *command):
        return ["ip", "netns", "exec", self.names[which], *command]

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=60)


@pytest.fixture
def namespaces():
    if not shutil.which("ip"):
        pytest.skip("ip (iproute2) is not installed")
    made = Namespaces.__new__(Namespaces)
    try:
        made.__init__()
    except (subprocess.CalledProcessError, OSError) as e:
        made.close()
        pytest.skip(f"network namespaces are not permitted here: {getattr(e, 'stderr', e)}")
    yield made
    made.close()


def test_roles_work_apart(namespaces, processes, tmp_path):
    """compose.roles.yaml without an engine: each role sees its own network and the other's address only."""
    role_key = "gs_rolekey_0123456789abcdef0123456789abcdef"
    config = yaml.safe_load((DEPLOY / "config" / "roles.yaml").read_text())
    config["upstreams"]["time"]["url"] = f"http://{namespaces.addresses[1]}:8508/mcp"
    (tmp_path / "roles.json").write_text(json.dumps(config))
    program = str(binary())
    time = processes(*namespaces.inside(1, program, "serve", "--role", "server:time", "--listen", "0.0.0.0:8508",
                                        "--data", str(tmp_path / "time")),
                     env={**os.environ, "GATESPAN_ADMIN_KEY": role_key})
    gw = processes(*namespaces.inside(0, program, "serve", "--config", str(tmp_path / "roles.json"),
                                      "--data", str(tmp_path / "gw")),
                   env={**os.environ, "GATESPAN_ADMIN_KEY": ADMIN_KEY, "TIME_KEY": role_key})

    def well(which, url):
        return subprocess.run(namespaces.inside(which, program, "health", url), capture_output=True, timeout=60).returncode == 0

    wait_for(lambda: well(1, "http://127.0.0.1:8508"), what="the role is ready: " + "".join(time.lines[-5:]))
    wait_for(lambda: well(0, "http://127.0.0.1:8000"), what="the gateway is ready: " + "".join(gw.lines[-5:]))
    called = subprocess.run(namespaces.inside(0, program, "call", "time__get_current_time", "zone=UTC"), text=True,
                            capture_output=True, timeout=60, env={**os.environ, "GATESPAN_KEY": ADMIN_KEY})
    assert called.returncode == 0 and "UTC" in called.stdout, called.stdout + called.stderr
    assert not well(1, "http://127.0.0.1:8000"), "the namespaces are apart"
