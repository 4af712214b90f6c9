"""Services with networks of their own, as in pods: the program of a cgroup judges what its processes send from their
network namespace, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kernelkit import compare, deny, egress, in_force, inside, kernel_group

__all__ = ["kernel_group"]

IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PORT = 8080
SERVER = f"""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import socket

class Pay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

class Both(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

server = Both(("::", {PORT}), Pay)
print("ready", flush=True)
server.serve_forever()
"""
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)
for target in ("/ok", "/admin", "/ok"):
    connection.request("GET", target)
    answer = connection.getresponse()
    answer.read()
    print(answer.status)
"""


def ip(*words: str) -> None:
    done = subprocess.run([str(IP), *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def networks(kernel_group: Path) -> Iterator[tuple[str, str]]:
    """Two network namespaces, `10.77.0.1`/`fd77::1` for the caller and `.2`/`::2` for the callee, joined by a cable."""
    if IP is None:
        pytest.skip("iproute2 is missing; `scripts/setup-system.sh tests` installs it")
    front, pay = f"m4-{os.getpid()}-front", f"m4-{os.getpid()}-pay"
    with ExitStack() as stack:
        for name in (front, pay):
            try:
                ip("netns", "add", name)
            except OSError as error:
                pytest.skip(f"no network namespaces here: {error}")
            stack.callback(ip, "netns", "delete", name)
        ip("link", "add", "eth0", "netns", front, "type", "veth", "peer", "name", "eth0", "netns", pay)
        for number, name in enumerate((front, pay), 1):
            for address in (f"10.77.0.{number}/24", f"fd77::{number}/64"):
                ip("-n", name, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
            ip("-n", name, "link", "set", "eth0", "up")
        yield front, pay


def test_requests_between_network_namespaces_are_judged(
    networks: tuple[str, str], kernel_group: Path, tmp_path: Path
) -> None:
    front, pay = networks
    rules = [deny(1, compare("url_path", "==", "/admin"))]
    remote = {"pay": [f"10.77.0.2:{PORT}", f"[fd77::2]:{PORT}"]}
    command = [str(IP), "netns", "exec", pay, sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            with in_force([egress("pay", rules)], remote, tmp_path, kernel_group):
                for host in ("10.77.0.2", "fd77::2"):
                    assert asked(front, host) == ["200", "200", "200"], "a process outside of the group"
                    with inside(kernel_group):
                        assert asked(front, host) == ["200", "403", "200"]
        finally:
            server.kill()


def asked(namespace: str, host: str) -> list[str]:
    """The statuses that a client in a namespace gets, in the group that this process is in."""
    command = [str(IP), "netns", "exec", namespace, sys.executable, "-c", CLIENT, host, str(PORT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
