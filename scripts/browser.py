"""Debian's Chromium, headless, over two pipes: what scripts/bench-report and scripts/screenshot
share. No port is opened and nothing is installed but Chromium itself."""

import base64
import json
import os
import pathlib
import subprocess
import tempfile
import time


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        reads, self.send = os.pipe()
        self.receive, writes = os.pipe()

        def wire():
            # Chromium reads from descriptor 3 and writes to 4; low ones may be in use as either.
            high_reads, high_writes = os.dup2(reads, 103), os.dup2(writes, 104)
            os.dup2(high_reads, 3)
            os.dup2(high_writes, 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        options += ["--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={self.profile.name}"]
        self.child = subprocess.Popen(
            ["chromium", *options], preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(reads)
        os.close(writes)
        self.buffer, self.last, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.buffer:
            data = os.read(self.receive, 1 << 20)
            if not data:
                raise SystemExit("chromium went away")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(text)
        if "method" in message:
            self.events.append(message["method"])
        return message

    def call(self, method, **params):
        self.last += 1
        asked = {"id": self.last, "method": method, "params": params}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self.send, json.dumps(asked).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == asked["id"]:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']['message']}")
                return message["result"]

    def open(self, file, fragment=""):
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=pathlib.Path(file).resolve().as_uri() + fragment)
        while self.eval("document.documentElement?.dataset.ready") != "yes":
            time.sleep(0.02)

    def eval(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"{expression}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    def window(self, width, height, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, file):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(data))

    def close(self):
        os.write(self.send, json.dumps({"id": self.last + 1, "method": "Browser.close"}).encode() + b"\0")
        self.child.wait(timeout=30)
        self.profile.cleanup()
