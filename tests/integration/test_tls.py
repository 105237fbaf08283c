"""TLS towards clients and towards upstreams, with certificates of an authority made for the test."""
import datetime
import http.client
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest
from conftest import ADMIN_KEY, binary, free_port, http_server, replace, upstream_config, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority; its certificates are for 127.0.0.1 and localhost."""

    def __init__(self, folder, name="authority"):
        folder.mkdir(exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.cert = self._sign(self.name, self.key, ca=True)
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, ca=False, days=1):
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2))
                   .not_valid_after(now + datetime.timedelta(days=days))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name, days=1):
        """Writes NAME.crt and NAME.key; their paths and the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days=days)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return files[0], files[1], cert.serial_number

    def client(self, cert=None, version=None):
        """A context that trusts this authority and nothing else."""
        context = ssl.create_default_context(cafile=self.file)
        if cert:
            context.load_cert_chain(*cert[:2])
        if version:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "tls")


@pytest.fixture
def https(gateway, authority):
    """Starts a gateway that speaks https with a certificate of the authority."""
    def start(tls=None, **config):
        cert, key, serial = authority.issue("server")
        gw = gateway({**config, "tls": {"cert_file": str(cert), "key_file": str(key), **(tls or {})}}, wait=False)
        gw.wait_log('"event":"listening"')
        gw.serial = serial
        return gw
    return start


class Client:
    """One https connection and what it calls."""

    def __init__(self, gateway, context):
        self.http = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=context, timeout=60)
        self.http.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def get(self, path="/health"):
        self.http.request("GET", path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
        answer = self.http.getresponse()
        return answer.status, answer.read()

    def session(self):
        """initialize and a list, both on this connection."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}
        self.http.request("POST", "/mcp", json.dumps(call), {
            "Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream"})
        answer = self.http.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        return answer.headers["mcp-session-id"]

    @property
    def serial(self):
        return int(self.http.sock.getpeercert()["serialNumber"], 16)

    @property
    def version(self):
        return self.http.sock.version()


def refused(gw, context):
    """True when a connection with this context comes to nothing, in the handshake or right after."""
    try:
        with Client(gw, context) as client:
            client.get()
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return True
    return False


# ---- towards clients

@pytest.mark.smoke
def test_https_is_served_with_tls_1_3(https, authority):
    gw = https()
    with Client(gw, authority.client()) as client:
        assert client.version == "TLSv1.3" and client.serial == gw.serial
        assert client.get() == client.get() and client.get()[0] == 200
        assert client.session()


def test_plain_http_is_not_served_beside_it(https, authority):
    gw = https()
    with socket.create_connection(("127.0.0.1", gw.port), 60) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        try:
            assert b"200" not in plain.recv(1000)
        except ConnectionError:
            pass
    assert not refused(gw, authority.client())


def test_a_large_body_comes_whole(https, authority):
    gw = https()
    with Client(gw, authority.client()) as client:
        client.http.request("POST", "/mcp", b" " * 3_000_000 + b"{}", {
            "Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream"})
        answer = client.http.getresponse()
        assert answer.status == 400, "3 MB arrived, and were no request"
        answer.read()
        assert client.get()[0] == 200


def test_tls_1_2_is_refused_unless_allowed(https, authority):
    old = authority.client(version=ssl.TLSVersion.TLSv1_2)
    assert refused(https(), old)
    with Client(https({"allow_tls_1_2": True}), old) as client:
        assert client.version == "TLSv1.2" and client.get()[0] == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_never_spoken(https, authority):
    old = authority.client()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    assert refused(https({"allow_tls_1_2": True}), old)


def test_client_certificates_can_be_required(https, authority, tmp_path):
    gw = https({"client_ca_file": str(authority.file), "require_client_cert": True})
    stranger = Authority(tmp_path / "other", "other").issue("client")
    assert refused(gw, authority.client())
    assert refused(gw, authority.client(stranger))
    assert refused(gw, authority.client(authority.issue("old", days=-1)))
    with Client(gw, authority.client(authority.issue("client"))) as client:
        assert client.get()[0] == 200


def test_a_session_resumes(https, authority):
    gw = https(workers=2)
    context = authority.client()
    with Client(gw, context) as first:
        first.get()
        ticket = first.http.sock.session
    reused = 0
    for _ in range(4):  # on whichever worker it lands
        with context.wrap_socket(socket.create_connection(("127.0.0.1", gw.port)), server_hostname="127.0.0.1",
                                 session=ticket) as again:
            reused += again.session_reused
    assert reused == 4


# ---- reload

def test_a_new_certificate_on_sighup_drops_nobody(https, authority):
    gw = https()
    with Client(gw, authority.client()) as running:
        assert running.get()[0] == 200
        _, _, serial = authority.issue("server")
        gw.process.send_signal(signal.SIGHUP)
        gw.wait_log("configuration reloaded")

        def new_serial():
            with Client(gw, authority.client()) as fresh:
                return fresh.serial == serial
        wait_for(new_serial, what="the new certificate")
        assert running.get()[0] == 200 and running.serial == gw.serial, "the old connection is still there"


def test_a_broken_certificate_on_sighup_is_refused(https, authority):
    gw = https()
    (authority.folder / "server.crt").write_text("nothing of use")
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("reload refused")
    assert "server.crt" in gw.logs()
    with Client(gw, authority.client()) as client:
        assert client.serial == gw.serial


def test_tls_is_not_switched_off_while_running(https, authority, tmp_path):
    gw = https()
    replace(tmp_path / "gatespan.json", "{}")
    gw.wait_log("tls (on or off) cannot change while running")
    assert not refused(gw, authority.client())


@pytest.mark.parametrize("spoil, said", [
    (lambda a: (a.folder / "server.key").unlink(), "server.key"),
    (lambda a: (a.folder / "server.key").write_text("x"), "server.key holds no PEM private key"),
    (lambda a: os.replace(a.issue("other")[1], a.folder / "server.key"), "is not the key of the certificate"),
])
def test_a_start_with_files_that_do_not_fit(tmp_path, authority, spoil, said):
    cert, key, _ = authority.issue("server")
    spoil(authority)
    (tmp_path / "c.json").write_text(json.dumps({"tls": {"cert_file": str(cert), "key_file": str(key)}}))
    done = subprocess.run([str(binary()), "serve", "--config", str(tmp_path / "c.json"), "--data", str(tmp_path / "d"),
                           "--listen", f"127.0.0.1:{free_port()}"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 3 and said in done.stderr, done.stderr


# ---- towards upstreams

class TlsServer:
    """Speaks TLS in front of a plain server and remembers the certificates that clients showed."""

    def __init__(self, cert, port, client_ca=None, version=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*cert[:2])
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        if version:
            self.context.maximum_version = version
        self.behind, self.shown, self.versions = port, [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.socket.getsockname()[1]}/mcp"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        outside = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        try:
            outside.do_handshake()
        except OSError:
            self._part(outside)
            return
        self.shown.append(outside.getpeercert())
        self.versions.append(outside.version())
        try:
            inside = socket.create_connection(("127.0.0.1", self.behind))
        except OSError:  # the test is over
            outside.close()
            return
        threading.Thread(target=self._pump, args=(inside, outside), daemon=True).start()
        self._pump(outside, inside)

    @staticmethod
    def _part(outside):
        """Reads to the end before it closes: else the kernel resets, and the alert is lost."""
        with socket.socket(fileno=outside.detach()) as plain:
            try:
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass
            except OSError:
                pass

    @staticmethod
    def _pump(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def tls_upstream(processes, authority):
    started = []

    def start(**options):
        plain = http_server(processes, tools=["echo", "large"])
        started.append(TlsServer(authority.issue("upstream"), plain.port, **options))
        started[-1].plain = plain
        return started[-1]
    yield start
    for server in started:
        server.socket.close()


def refused_for(gw, why):
    """The upstream is not up, and says so; another reason may come before, as it is tried again and again."""
    wait_for(lambda: why in gw.upstream("up").get("reason", ""), what=f"{why!r} as the reason")


def test_an_https_upstream_with_its_authority(gateway, authority, tls_upstream):
    server = tls_upstream()
    gw = gateway(upstream_config("up", url=server.url, tls={"ca_file": str(authority.file)})).wait_ready("up")
    assert gw.call_tool("up__echo", text="over TLS")["content"][0]["text"] == "over TLS"
    assert len(gw.call_tool("up__large", bytes=1_000_000)["content"][0]["text"]) == 1_000_000
    assert set(server.versions) == {"TLSv1.3"}


def test_an_upstream_of_an_unknown_authority_is_refused(gateway, tls_upstream, tmp_path):
    other = Authority(tmp_path / "other", "other")
    server = tls_upstream()
    gw = gateway(upstream_config("up", url=server.url, tls={"ca_file": str(other.file)}))
    refused_for(gw, "certificate")
    assert gw.upstream("up")["state"] != "ready"
    assert not server.plain.seen(), "nothing was said to it"


def test_the_systems_authorities_do_not_know_it(gateway, tls_upstream):
    gw = gateway(upstream_config("up", url=tls_upstream().url))
    refused_for(gw, "certificate")


def test_a_certificate_for_another_name_is_refused(gateway, authority, tls_upstream):
    server = tls_upstream()
    gw = gateway(upstream_config("up", url=server.url, tls={"ca_file": str(authority.file), "server_name": "example.org"}))
    refused_for(gw, "hostname mismatch")
    assert not server.plain.seen()


def test_an_upstream_of_tls_1_2_needs_an_option(gateway, authority, tls_upstream):
    server = tls_upstream(version=ssl.TLSVersion.TLSv1_2)
    tls = {"ca_file": str(authority.file)}
    gw = gateway(upstream_config("up", url=server.url, tls=tls))
    refused_for(gw, "version")
    gw = gateway(upstream_config("up", url=server.url, tls={**tls, "allow_tls_1_2": True})).wait_ready("up")
    assert gw.call_tool("up__echo", text="old")["content"][0]["text"] == "old"


def test_a_client_certificate_towards_an_upstream(gateway, authority, tls_upstream):
    server = tls_upstream(client_ca=authority.file)
    cert, key, _ = authority.issue("gateway")
    tls = {"ca_file": str(authority.file), "cert_file": str(cert), "key_file": str(key)}
    gw = gateway(upstream_config("up", url=server.url, tls=tls)).wait_ready("up")
    assert gw.call_tool("up__echo", text="known")["content"][0]["text"] == "known"
    assert all(dict(part[0] for part in shown["subject"])["commonName"] == "gateway" for shown in server.shown)


def test_an_upstream_that_wants_a_certificate_says_so(gateway, authority, tls_upstream):
    server = tls_upstream(client_ca=authority.file)
    gw = gateway(upstream_config("up", url=server.url, tls={"ca_file": str(authority.file)}))
    refused_for(gw, "certificate required")
    assert not server.plain.seen()
