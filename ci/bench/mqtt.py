"""Many messages and three restarts of the broker: every document is stored once.

A device that knows nothing of lab publishes with QoS 1, and publishes again what was not acknowledged. `lab watch` takes the
messages in. The broker is mosquitto (Debian's package of that name), ended in order and started again.

    cargo build --release && python3 ci/bench/mqtt.py target/release/lab --messages 10000

Ends with 1 where a document is missing, stored twice, or the store does not verify.
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

TOPIC = b"iot/metrics/edge-01"
# Published and not acknowledged yet, at most: what many brokers let one client have in flight.
WINDOW = 20


def document(number):
    detail = {
        "timestamp": f"2025-10-07T10:30:15.{number:06}",
        "device_id": "edge-01",
        "model_name": "tiny",
        "inference_time_ms": 1000 + number,
        "memory_used_mb": 45.67,
        "cpu_percent_avg": 78.5,
        "energy_consumed_mj": 18.75,
        "compute_device": "cpu",
    }
    summary = {"device_id": "edge-01", "model_name": "tiny", "total_inferences": 1}
    return json.dumps({"summary": summary, "detailed_metrics": [detail]}).encode()


def length(n):
    encoded = bytearray()
    while True:
        n, low = divmod(n, 128)
        encoded.append(low | (0x80 if n else 0))
        if not n:
            return bytes(encoded)


def publication(number, payload):
    body = len(TOPIC).to_bytes(2, "big") + TOPIC + number.to_bytes(2, "big") + payload
    return b"\x32" + length(len(body)) + body


class Device:
    """Publishes documents in order, and again until each is acknowledged."""

    def __init__(self, port, payloads):
        self.port, self.payloads, self.n_acknowledged = port, payloads, 0

    def publish(self, until):
        """Publishes until so many are acknowledged or the connection breaks."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as own, own.makefile("rb") as answers:
            own.sendall(b"\x10\x12\0\x04MQTT\x04\x02\0\x3c\0\x06device")
            if answers.read(4) != b"\x20\x02\0\0":
                raise ConnectionError("not welcome")
            n_sent = self.n_acknowledged
            while self.n_acknowledged < until:
                while n_sent < until and n_sent - self.n_acknowledged < WINDOW:
                    own.sendall(publication(n_sent % 65_535 + 1, self.payloads[n_sent]))
                    n_sent += 1
                answer = answers.read(4)
                # A broker acknowledges in the order of publication.
                if answer != b"\x40\x02" + (self.n_acknowledged % 65_535 + 1).to_bytes(2, "big"):
                    raise ConnectionError(f"no acknowledgement: {answer!r}")
                self.n_acknowledged += 1

    def publish_stubbornly(self, until):
        while self.n_acknowledged < until:
            try:
                self.publish(until)
            except OSError:
                time.sleep(0.1)


class Broker:
    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "max_queued_messages 0\nset_tcp_nodelay true\nuser root\nlog_dest none\n"
        )
        self.start()

    def start(self):
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = subprocess.Popen([program, "-c", self.config], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit("mosquitto does not start: install the Debian package `mosquitto`")
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()


def wait_for_subscription(watch, said):
    deadline = time.monotonic() + 30
    while "listening" not in said.read_text():
        if time.monotonic() > deadline or watch.poll() is not None:
            sys.exit(f"the watch does not listen:\n{said.read_text()}")
        time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lab", type=pathlib.Path)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--patience", type=int, default=900, help="seconds")
    arguments = parser.parse_args()
    payloads = [document(number) for number in range(arguments.messages)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        store, said = folder / "lab.sqlite", folder / "said"
        broker = Broker(folder)
        command = [arguments.lab.resolve(), "--store", store, "watch", f"mqtt://127.0.0.1:{broker.port}"]
        with said.open("wb") as stderr:
            watch = subprocess.Popen([*command, "--once", str(arguments.messages)], stderr=stderr)
        try:
            wait_for_subscription(watch, said)
            device, begun = Device(broker.port, payloads), time.monotonic()
            for part in range(1, 5):
                device.publish_stubbornly(arguments.messages * part // 4)
                if part < 4:
                    broker.restart()
            status = watch.wait(timeout=arguments.patience)
            seconds = time.monotonic() - begun
        finally:
            watch.kill()
            broker.stop()
        words = said.read_text().splitlines()[-1]
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
            stored = [digest for (digest,) in connection.execute("SELECT digest FROM source")]
        verified = subprocess.run([arguments.lab, "--store", store, "verify"], capture_output=True, text=True)
    meant = {hashlib.sha256(payload).hexdigest() for payload in payloads}
    print(f"{len(stored)} documents stored of {len(meant)} in {seconds:.1f} s, {len(stored) / seconds:.0f} a second")
    print(f"three restarts of the broker; the watch said: {words}")
    print(f"verify: {verified.returncode} {verified.stderr.strip()}")
    is_right = status == 0 and set(stored) == meant and len(stored) == len(meant) and verified.returncode == 0
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
