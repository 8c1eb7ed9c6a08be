"""A real Triton Inference Server on this machine, which ends with the program that started it.

usage: server.py TRITON_DIRECTORY MODEL_REPOSITORY LOG [PORT]
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request


def free_ports(count):
    """Ports that nobody listens on. They stay free unless another program is quick."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def end_in_order():
    """Makes a request to terminate leave by the `with` blocks, so that no server outlives this program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Server:
    """`with Server(..) as server:` has it ready, and ended afterwards."""

    def __init__(self, triton, models, log, ports=None, options=()):
        self.ports = list(ports or free_ports(3))
        self.log = pathlib.Path(log)
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in self.ports)
        names = ("--http-port", "--grpc-port", "--metrics-port")
        self.command = [
            f"{triton}/bin/tritonserver", "--model-repository", str(models), "--backend-directory", f"{triton}/backends",
            "--cache-directory", f"{triton}/caches", "--cache-config", "local,size=1048576", "--exit-timeout-secs", "5",
            "--grpc-header-forward-pattern", "[xX]-.*", "--http-header-forward-pattern", "[xX]-.*",
            "--trace-config", f"triton,file={self.log}.trace", "--trace-config", "level=OFF",
            *(part for name in ("http", "grpc", "metrics") for part in (f"--{name}-address", "127.0.0.1")),
            *(part for name, port in zip(names, self.ports) for part in (name, str(port))), *options]
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        for port in self.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as problem:
                    raise SystemExit(f"port {port}: {problem.strerror}") from None
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log.open("w"), stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + 180
            while not self.is_ready():
                if self.process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
                    raise SystemExit(f"the server did not come up; the end of {self.log}:\n{tail}")
                time.sleep(0.25)
        except BaseException:
            self.stop()
            raise

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=5).status == 200
        except OSError:
            return False

    def stop(self, gently=True):
        """Ends the server and the processes of its models, which are one group of their own."""
        if self.process is None:
            return
        if gently and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None

    def get(self, path):
        return json.load(urllib.request.urlopen(f"http://{self.http}/{path}", timeout=10))

    def statistics(self):
        """What the server has counted for each model and version since it started."""
        return {(each["name"], each["version"]): each for each in self.get("v2/models/stats")["model_stats"]}


if __name__ == "__main__":
    end_in_order()
    port = int(sys.argv[4])
    with Server(sys.argv[1], sys.argv[2], sys.argv[3], (port, port + 1, port + 2)) as server:
        print(f"http {server.http}  grpc {server.grpc}  metrics {server.metrics}", flush=True)
        signal.pause()
