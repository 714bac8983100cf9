"""A client of the WebSocket in another language: token, requests out of order, a run followed to its end.

Arguments: the address, and the file the token lies in.
"""

import asyncio
import json
import sys

import websockets

DEADLINE = 60


def say(message):
    return json.dumps(message)


async def hear(socket, wanted):
    while True:
        message = json.loads(await socket.recv())
        if wanted(message):
            return message


async def refused(url):
    """Nothing is sent unasked; a wrong token is told as such; text that is no JSON is answered; binary is not taken."""
    async with websockets.connect(url) as socket:
        await socket.send("ping")
        assert await socket.recv() == "pong"
        await socket.send(say({"authorization": "hf_wrong"}))
        answer = json.loads(await socket.recv())
        assert answer == {"event": "authorization", "success": False, "error": "INVALID_TOKEN"}, answer
    async with websockets.connect(url) as socket:
        await socket.send("{")
        answer = json.loads(await socket.recv())
        assert (answer["extID"], answer["status"], answer["error"]) == (None, 400, "INVALID_MESSAGE"), answer
        await socket.send(say({"command": "GetBackupRuns", "extID": "1"}))
        answer = json.loads(await socket.recv())
        assert (answer["extID"], answer["status"]) == ("1", 401), answer
        await socket.send(b"\x00")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1003, closed
        else:
            sys.exit("binary was taken")


async def followed(url, token):
    """A run is begun and followed; its end comes once, as `final`, and again to whoever asks from before it."""
    async with websockets.connect(url) as socket:
        await socket.send(say({"authorization": token}))
        answer = json.loads(await socket.recv())
        assert answer == {"event": "authorization", "success": True}, answer
        await socket.send(say({"command": "Subscribe", "extID": "s", "data": {"channels": ["backup.progress", "backup.events"]}}))
        subscribed = await hear(socket, lambda message: message.get("extID") == "s")
        assert subscribed["status"] == 200, subscribed
        before = subscribed["data"]["seq"]
        await socket.send(say({"command": "StartFullBackup", "extID": "b"}))
        await socket.send(say({"command": "Ping", "extID": "p"}))
        open_requests, final, run = {"b", "p"}, None, None
        while open_requests or final is None:
            message = json.loads(await socket.recv())
            if message.get("extID") in open_requests:
                open_requests.remove(message["extID"])
                assert message["status"] == 200, message
                run = message["data"] if message["extID"] == "b" else run
            elif message.get("event") == "backup.progress" and message["type"] == "final":
                assert final is None, "a second final"
                final = message
        assert run["status"] == "completed", run
        assert final["data"]["run_id"] == run["run_id"], final
    async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        again = {"channels": ["backup.progress"], "since_seq": before}
        await socket.send(say({"command": "Subscribe", "extID": "s", "data": again}))
        repeated = await hear(socket, lambda message: message.get("type") == "final")
        assert repeated["seq"] == final["seq"], (repeated, final)
        assert repeated["data"]["run_id"] == run["run_id"], repeated
    print(run["run_id"])


async def main(url, token):
    await refused(url)
    await followed(url, token)


asyncio.run(asyncio.wait_for(main(sys.argv[1], open(sys.argv[2]).read().strip()), DEADLINE))
