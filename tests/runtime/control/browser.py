"""A real browser, driven through its DevTools: pages, what their scripts say, pictures of them."""

import asyncio
import base64
import json
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 60.0


class Tab:
    """One tab: `errors` are what its console and its network complained about."""

    def __init__(self, socket):
        self._socket, self._next, self._answers, self.errors = socket, 0, {}, []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"])
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])

    async def ask(self, method, **parameters):
        self._next += 1
        answer = self._answers[self._next] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._next, "method": method, "params": parameters})
        said = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in said, said
        return said["result"]

    async def open(self, url, width=1280, height=900, dark=False, phone=False):
        for domain in ("Runtime", "Log", "Page", "Network"):
            await self.ask(f"{domain}.enable")
        await self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                       mobile=phone)
        await self.ask("Page.navigate", url=url)

    async def run(self, script):
        """What an expression gives."""
        said = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def text(self, selector="body"):
        return await self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    async def until(self, script, what=""):
        """Waits until an expression is true."""
        for _ in range(int(PATIENCE_S / 0.1)):
            with suppress(AssertionError):  # between two pages there is none
                if await self.run(f"Boolean({script})"):
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{what or script}; the page says:\n{await self.text()}\nerrors: {self.errors}")

    async def until_shown(self, selector, *words):
        for word in words:
            await self.until(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(word)})",
                             f"no {word!r} in {selector}")

    async def picture(self, file, whole=False):
        said = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(said["data"]))

    async def close(self):
        self._reading.cancel()
        await self._socket.close()


@asynccontextmanager
async def browser(folder):
    """Gives a function that opens a tab of a headless Chromium; it resolves no names."""
    process = subprocess.Popen(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
         f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    tabs = []
    try:
        async with aiohttp.ClientSession() as session:
            port = await _port(folder / "profile" / "DevToolsActivePort", process)

            async def tab(url, **look):
                async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                    target = await answer.json()
                tabs.append(Tab(await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)))
                await tabs[-1].open(url, **look)
                return tabs[-1]

            yield tab
            for one in tabs:
                await one.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _port(file, process):
    for _ in range(int(PATIENCE_S / 0.1)):
        assert process.poll() is None, "the browser has ended"
        if file.exists() and (text := file.read_text().split()):
            return int(text[0])
        await asyncio.sleep(0.1)
    raise AssertionError("the browser does not say where it listens")
