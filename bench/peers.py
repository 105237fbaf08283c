"""What bench/run and bench/profile start and stop: upstream, forwarder, nginx and Gatespan.

A Stage owns a scratch folder and every process; leaving its `with` block ends them all, on
success, error and Ctrl-C alike. Configuration texts of nginx and Gatespan stand here only.
"""
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

KEY = 'gs_bench_0123456789abcdef0123456789abcdef0123456789abcdef'  # made up, used on loopback only
MODERN, LEGACY = '2026-07-28', '2025-11-25'
META = {'io.modelcontextprotocol/protocolVersion': MODERN,
        'io.modelcontextprotocol/clientInfo': {'name': 'bench', 'version': '1.0.0'},
        'io.modelcontextprotocol/clientCapabilities': {}}

# As an operator who knows nginx would write it for MCP: connections of both sides are kept, bodies
# and streams pass as they come and never touch the disk, nothing is logged. Seven variants of the
# buffers were compared: this one costs nginx 0.6 at 1 MiB of what holding whole messages does, and
# the same for small calls.
NGINX_CONF = '''
daemon off;
master_process {master};
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 128k;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_buffer_size 128k;
    proxy_buffers 8 128k;
    upstream bench {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_timeout 1h;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
'''


def gatespan_conf(upstream, lists=0, history=True, sink=None):
    """`bench` speaks both eras, `old` only sessions; with `lists` so many upstreams u0, u1, … instead.
    `sink`: the port to which spans are exported."""
    urls = {f'u{i}': 'mcp' for i in range(lists)} or {'bench': 'mcp', 'old': 'legacy'}
    rows = ''.join(f'  {name}: {{url: "http://127.0.0.1:{upstream}/{path}"}}\n' for name, path in urls.items())
    traces = f'otlp: {{endpoint: "http://127.0.0.1:{sink}", metrics: false}}\n' if sink else ''
    return 'upstreams:\n' + rows + ('' if history else 'history: {enabled: false}\n') + traces


def gatespan_tool(style, tool='echo', bridged=False):
    """The same era on both faces: a legacy call goes to the legacy upstream; bridged: to the other one."""
    return f'{"bench" if (style == "modern") != bridged else "old"}__{tool}'


class Failed(Exception):
    """Something could not be started or measured; the text says what."""


@dataclass
class Peer:
    name: str
    port: int
    process: subprocess.Popen
    gatespan: bool = False

    @property
    def pid(self):
        return self.process.pid

    def spec(self, style, tool='echo', bridged=False):
        """For the driver's --peer. Path /mcp serves both eras everywhere."""
        return f'{self.name},{self.port},/mcp,{gatespan_tool(style, tool, bridged) if self.gatespan else tool},{self.pid}'


# ---- processes --------------------------------------------------------------------------------

def children(pid):
    """Process ids of the tree, the root first."""
    found = [pid]
    for thread in pathlib.Path(f'/proc/{pid}/task').glob('*'):
        with contextlib.suppress(OSError):
            for child in (thread / 'children').read_text().split():
                found += children(int(child))
    return found


def cpu_ns(pid):
    """CPU time of the process tree by the scheduler."""
    total = 0
    for each in children(pid):
        for thread in pathlib.Path(f'/proc/{each}/task').glob('*'):
            with contextlib.suppress(OSError):
                total += int((thread / 'schedstat').read_text().split()[0])
    return total


def pss_kib(pid):
    """Proportional set size of the process tree, in KiB."""
    total = 0
    for each in children(pid):
        with contextlib.suppress(OSError):
            rows = pathlib.Path(f'/proc/{each}/smaps_rollup').read_text().splitlines()
            total += sum(int(row.split()[1]) for row in rows if row.startswith('Pss:'))
    return total


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def raise_descriptors(wanted=65536):
    """As many descriptors as we may have; children inherit it. Returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (max(hard, wanted), hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def pinned(cores):
    """What is started inside runs on these cores (None: wherever it likes)."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def terminated(*_):
    raise SystemExit('terminated')


class Stage:
    def __init__(self, build, gatespan, gateway_core, load_core):
        self.build, self.gatespan = pathlib.Path(build), pathlib.Path(gatespan)
        self.gateway_core, self.load_core = gateway_core, load_core
        self.processes = []

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='gatespan-bench-'))
        signal.signal(signal.SIGTERM, terminated)
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the end is near: let it be clean
        for process in reversed(self.processes):
            self.stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def folder(self, name):
        """A new empty folder of that name, numbered when it is not the first."""
        for i in range(10000):
            path = self.dir / (f'{name}-{i}' if i else name)
            if not path.exists():
                path.mkdir()
                return path
        raise Failed('too many folders')

    def spawn(self, args, cores, env=None, log=None, quick=False, **more):
        """Starts a process that ends with us. quick: nothing between fork and exec, for timing a start."""
        out = open(log or self.dir / 'log', 'ab')
        with out, pinned(cores):
            process = subprocess.Popen([str(a) for a in args], env={**os.environ, **(env or {})}, stdout=more.pop('stdout', out),
                                       stderr=out, stdin=more.pop('stdin', subprocess.DEVNULL), start_new_session=True,
                                       preexec_fn=None if quick else die_with_parent, **more)
        process.log = log or self.dir / 'log'
        self.processes.append(process)
        return process

    def stop(self, process, patience=10):
        """SIGTERM, then after `patience` seconds SIGKILL for it and all that is left below it."""
        tree = children(process.pid) if process.poll() is None else []
        with contextlib.suppress(ProcessLookupError):
            if tree:
                process.terminate()
            process.wait(patience)
        if process.poll() is None:
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def program(self, name):
        path = self.build / 'bench' / f'bench-{name}'
        if not path.exists():
            raise Failed(f'{path} is missing: meson configure -Dbench=true {self.build} && ninja -C {self.build}')
        return path

    # ---- peers ----------------------------------------------------------------------------

    def start_upstream(self, name='upstream', *options, core=None):
        port = free_port()
        process = self.spawn([self.program('upstream'), '--port', port, *options], {self.load_core if core is None else core})
        return self.ready(Peer(name, port, process))

    def start_forwarder(self, upstream, wrap=()):
        port = free_port()
        process = self.spawn([*wrap, self.program('forwarder'), '--port', port, '--upstream', upstream.port], {self.gateway_core})
        return self.ready(Peer('forwarder', port, process))

    def nginx_command(self, upstream, port, workers=1, connections=4096, master='on'):
        if not shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin'):
            raise Failed('nginx is not installed (Debian: apt install nginx-light)')
        folder = self.folder('nginx')
        user = 'user root;' if os.geteuid() == 0 else ''
        conf = NGINX_CONF.format(dir=folder, user=user, port=port, upstream=upstream.port, workers=workers,
                                 connections=connections, master=master)
        (folder / 'nginx.conf').write_text(conf)
        program = shutil.which('nginx') or '/usr/sbin/nginx'
        return [program, '-p', folder, '-c', folder / 'nginx.conf', '-e', folder / 'error.log'], folder / 'error.log'

    def start_nginx(self, upstream, name='nginx', wrap=(), cores='gateway', **conf):
        port = free_port()
        command, log = self.nginx_command(upstream, port, **conf)
        process = self.spawn([*wrap, *command], {self.gateway_core} if cores == 'gateway' else cores, log=log)
        return self.ready(Peer(name, port, process))

    def gatespan_command(self, upstream, port, workers=1, lists=0, data=None, history=True, sink=None, program=None):
        if not self.gatespan.exists():
            raise Failed(f'{self.gatespan} is missing')
        folder = data or self.folder('gatespan')
        (folder / 'gatespan.yaml').write_text(gatespan_conf(upstream.port, lists, history, sink))
        return [program or self.gatespan, 'serve', '--config', folder / 'gatespan.yaml', '--data', folder / 'data',
                '--listen', f'127.0.0.1:{port}', '--workers', workers], folder / 'log'

    def start_gatespan(self, upstream, name='gatespan', wrap=(), cores='gateway', **conf):
        port = free_port()
        command, log = self.gatespan_command(upstream, port, **conf)
        process = self.spawn([*wrap, *command], {self.gateway_core} if cores == 'gateway' else cores, log=log,
                             env={'GATESPAN_ADMIN_KEY': KEY})
        tools = ['u0__echo'] if conf.get('lists') else ['bench__echo', 'old__echo']
        return self.ready(Peer(name, port, process, gatespan=True), tools)

    def start_without_history(self, upstream, name='gatespan-plain', **conf):
        return self.start_gatespan(upstream, name=name, history=False, **conf)

    def start_traced(self, upstream, name='gatespan-traced', **conf):
        """Its spans go to a process of their own, on the load's core."""
        return self.start_gatespan(upstream, name=name, sink=self.start_upstream('sink').port, **conf)

    def start(self, kind, upstream, **more):
        return {'nginx': self.start_nginx, 'forwarder': self.start_forwarder, 'gatespan': self.start_gatespan,
                'gatespan-plain': self.start_without_history, 'gatespan-traced': self.start_traced}[kind](upstream, **more)

    # ---- asking ---------------------------------------------------------------------------

    def ready(self, peer, tools=('echo',), patience=60):
        """Waits until each tool answers through the peer."""
        for tool in tools:
            deadline = time.monotonic() + patience
            answer = None
            while not (answer and good(answer)):
                if peer.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f'{peer.name} gives no good answer to {tool}: {answer}\n{tail(peer.process.log)}')
                answer = call(peer.port, tool, {'text': 'ready?'})
                time.sleep(0.02)
        return peer

    def driver(self, peers, style, timeout=600, **options):
        """Runs the load driver; returns its JSON. options: as on its command line, with _ for -."""
        tool, bridged = options.pop('tool', 'echo'), options.pop('bridged', False)
        args = [self.program('driver'), '--style', style, '--key', KEY, '--timeout', timeout]
        for peer in peers:
            args += ['--peer', peer.spec(style, tool, bridged)]
        for option, value in options.items():
            args += ['--' + option.replace('_', '-'), *([] if value is True else [value])]
        process = self.spawn(args, {self.load_core}, log=self.dir / 'driver.log', stdout=subprocess.PIPE)
        try:
            out = process.communicate(timeout=timeout + 5)[0]
        finally:
            self.stop(process)
        if process.returncode:
            raise Failed(tail(self.dir / 'driver.log', 3))
        return json.loads(out)

    @contextlib.contextmanager
    def holding(self, peer, what, count, style):
        """Keeps that many idle connections or sessions open inside the block."""
        args = [self.program('driver'), '--style', style, '--key', KEY, '--hold', what, '--connections', count,
                '--peer', peer.spec(style)]
        process = self.spawn(args, {self.load_core}, log=self.dir / 'driver.log', stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        try:
            if not process.stdout.readline():
                raise Failed(tail(self.dir / 'driver.log', 3))
            yield
        finally:
            process.stdin.close()
            self.stop(process)
            process.stdout.close()


def tail(path, lines=8):
    with contextlib.suppress(OSError):
        return '\n'.join(pathlib.Path(path).read_text(errors='replace').splitlines()[-lines:])
    return ''


def good(answer):
    return answer[0] == 200 and b'"result"' in answer[1] and b'"isError":true' not in answer[1].replace(b' ', b'')


def call(port, tool, arguments=None, method='tools/call', timeout=5):
    """One modern request: (status, body), or None when nobody answers."""
    params = {'_meta': META}
    headers = {'Authorization': 'Bearer ' + KEY, 'Content-Type': 'application/json',
               'Accept': 'application/json, text/event-stream', 'MCP-Protocol-Version': MODERN, 'Mcp-Method': method}
    if tool:
        params.update(name=tool, arguments=arguments or {})
        headers['Mcp-Name'] = tool
    body = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': method, 'params': params})
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout)
    try:
        connection.request('POST', '/mcp', body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
