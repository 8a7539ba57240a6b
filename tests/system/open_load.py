"""Open-loop clients as a process: `open_load.py URL SERVICE LOAD [TOKEN]`, until its standard input is closed.

LOAD is a rate (Poisson arrivals, req/s), or a file of times: JSON, Unix time, ascending.

Each request has a number: as its id, and as its data. An answer is right when it has the id, and its first output is the
number again; where there is a second output, it must be the number of the variant that the answer names. So an answer
that went to another request, or was made by another variant than it says, is seen.

Writes `started`, and in the end one line of JSON: what became of each request, as `ROW` says.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import aiohttp

ROW = ("number", "due_s", "sent_s", "done_s", "status", "variant", "right", "told")
VARIANTS = {"quick": 1.0, "good": 2.0, "wild": 3.0}  # what the second output of the models in `echo_models` says
TIMEOUT_S = 45.0


def times(load):
    """When requests are due, Unix time."""
    if not load.replace(".", "").isdecimal():
        yield from json.loads(Path(load).read_text())
        return
    due_s, generator = time.time(), random.Random(1)
    while True:
        due_s += generator.expovariate(float(load))
        yield due_s


async def play(url, service, load, token=""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)  # less than the gateway's patience with idle clients
    async with aiohttp.ClientSession(headers=headers, connector=connector,
                                     timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        name = await _input_of(session, f"{url}/v2/models/{service}")
        stop = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        rows, tasks = [], set()
        print("started", flush=True)
        for due_s in times(load):
            while (left_s := due_s - time.time()) > 0 and not stop.done():
                await asyncio.wait({stop}, timeout=left_s)
            if stop.done():
                break
            rows.append([len(rows) + 1, due_s, time.time(), None, 0, "", False, ""])
            task = asyncio.create_task(_ask(session, f"{url}/v2/models/{service}/infer", name, rows[-1]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await stop
        if tasks:
            await asyncio.wait(tasks)
        print(json.dumps(rows), flush=True)


async def _input_of(session, url):
    """Name of its one input, a number."""
    async with session.get(url) as answer:
        return (await answer.json())["inputs"][0]["name"]


async def _ask(session, url, name, row):
    number = row[0]
    tensor = {"name": name, "datatype": "FP32", "shape": [1, 1], "data": [float(number)]}
    try:
        async with session.post(url, json={"id": str(number), "inputs": [tensor]}) as answer:
            said = await answer.json()
            row[4] = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        row[7] = f"{type(error).__name__}: {error}"
    else:
        if row[4] == 200:
            row[5], outputs = said["model_version"], [output["data"] for output in said["outputs"]]
            row[6] = said["id"] == str(number) and outputs[0] == [float(number)]
            row[6] &= len(outputs) < 2 or outputs[1] == [VARIANTS[row[5]]]
        row[7] = "" if row[6] else str(said)[:300]
    row[3] = time.time()


if __name__ == "__main__":
    asyncio.run(play(*sys.argv[1:]))
