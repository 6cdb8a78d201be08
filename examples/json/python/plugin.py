"""A towline plugin in plain JSON, a pod is a process of this user: plugin.py HUB NAME [TOKEN_FILE]. See README.md."""
import asyncio, base64, contextlib, json, os, pathlib, random, signal, sys, time, uuid  # noqa: E401
import websockets as ws


class Plugin:  # pods and events outlive every link
    def __init__(self, name):
        self.name, self.instance, self.epoch = name, str(uuid.uuid4()), time.time_ns() // 1000
        self.pods, self.ends, self.outbox, self.seq, self.socket = {}, {}, {}, 0, None

    async def send(self, kind, **rest):  # what is lost with a link is told again on the next one
        with contextlib.suppress(ws.ConnectionClosed, AttributeError):
            await self.socket.send(json.dumps({"v": 1, "kind": kind} | rest))

    async def tell(self, pod, kind, name, **state):  # kept until the hub has it; a newer event of the pod takes its place
        self.seq, _ = self.seq + 1, self.outbox.pop(pod.get("seq"), None)
        pod |= {"seq": self.seq, "containers": [{"name": name, "state": state, "ready": "running" in state}]}
        self.outbox[self.seq] = event = {"epoch": self.epoch, "seq": self.seq, "type": kind, "pod": dict(pod)}
        await self.send("event", **event)

    async def create(self, ask):
        meta, spec = ask["body"]["pod"]["metadata"], ask["body"]["pod"]["spec"]
        if (uid := str(uuid.UUID(meta["uid"]))) not in self.pods:  # the hub repeats a create whose answer was lost
            [main] = (spec.get("initContainers") or []) + spec["containers"]
            with open(uid, "wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *main["command"], *main.get("args") or [], stdout=log, stderr=log, process_group=0)
            self.pods[uid] = {"name": meta["name"], "namespace": meta["namespace"], "UID": uid, "JID": str(process.pid)}
            self.ends[uid] = asyncio.create_task(self.watch(process, self.pods[uid], main["name"]))
        return {"PodUID": uid, "PodJID": self.pods[uid]["JID"]}

    async def watch(self, process, pod, name):
        await self.tell(pod, "STARTED", name, running={"startedAt": (began := time.strftime("%FT%TZ", time.gmtime()))})
        code, ended = await process.wait(), time.strftime("%FT%TZ", time.gmtime())
        await self.tell(pod, "FAILED" if code else "FINISHED", name, terminated={
            "exitCode": code if code >= 0 else 128 - code, "startedAt": began, "finishedAt": ended})

    async def delete(self, ask):  # answers at once; the end comes as an event
        pod = self.pods.pop(uid := ask["body"]["metadata"]["uid"], None)
        if pod and not self.ends[uid].done():
            os.killpg(int(pod["JID"]), signal.SIGKILL)
        return {"existed": bool(pod)}

    async def status(self, ask):  # a list of pods, or {"all": true}
        asked = [pod["metadata"]["uid"] for pod in ask["body"]] if isinstance(ask["body"], list) else self.pods
        return [self.pods.get(uid, {"UID": uid, "presence": "ABSENT"}) for uid in asked]

    async def logs(self, ask):  # one bounded read: the hub follows by asking again from where it ended
        uid, options, start = str(uuid.UUID(ask["pod"]["uid"])), ask["options"], ask.get("start")
        if options["timestamps"] or options["previous"] or "since_time" in options:
            raise NotImplementedError("this plugin keeps one log, without times")
        ended = uid not in self.ends or self.ends[uid].done()  # then what is there is all
        with open(uid, "rb") as log:
            if start or "tail" in options:
                log.seek(start["offset"] if start else sum(map(len, log.readlines()[:-options["tail"] or None])))
            at, read = log.tell(), log.read(options["limit_bytes"])
        for data in [b""] + [read[n:n + 32768] for n in range(0, len(read), 32768)]:  # the empty one says that it is open
            await self.send("logChunk", id=ask["id"], epoch=1, offset=at, data_b64=base64.b64encode(data).decode())
            at += len(data)
        return {"next": {"epoch": 1, "offset": at}, "eof": ended and len(read) < options["limit_bytes"]}

    async def serve(self, socket, idle=60):
        await socket.send(json.dumps({
            "v": 1, "kind": "register", "plugin": self.name, "instance": self.instance, "type": "python", "features": ["events"],
            "jobs_epoch": self.epoch, "outbox": {"epoch": self.epoch, "next_seq": self.seq + 1}, "node_status": {"ready": True}}))
        calls = {"/create": self.create, "/delete": self.delete, "/status": self.status, None: self.logs}
        while True:
            heard = json.loads(await asyncio.wait_for(socket.recv(), idle))
            if heard["kind"] == "ping":
                await self.send("pong", id=heard["id"])
            elif heard["kind"] in ("request", "streamLogs"):
                as_of, path = self.seq, heard.get("path")
                try:
                    status, body = (200, await calls[path](heard)) if path in calls else (501, f"{path} is not known here")
                except Exception as error:  # a fault of one call must not end the link
                    known = {NotImplementedError: 501, FileNotFoundError: 404}.get(type(error), 500)
                    status, body = (422, f"not a command that runs here: {error!r}") if path == "/create" else (known, str(error))
                await self.send("response", id=heard["id"], status=status, body=body, as_of=as_of)
            elif heard["kind"] in ("welcome", "eventAck"):
                ack, idle, self.socket = heard.get("applied", heard), heard.get("idle_ms", 1000 * idle) / 1000, socket
                self.outbox = {n: event for n, event in self.outbox.items() if (self.epoch, n) > (ack["epoch"], ack["seq"])}
                for event in [*self.outbox.values()] if heard["kind"] == "welcome" else []:
                    await self.send("event", **event)

    async def run(self, hub, token_file=None, delay=1):
        while True:
            self.socket, began, code = None, time.monotonic(), 1006
            try:
                auth = {"Authorization": f"Bearer {pathlib.Path(token_file).read_text().strip()}"} if token_file else {}
                async with ws.connect(hub, subprotocols=["towline.v1.json"], additional_headers=auth, max_size=2**24) as socket:
                    await self.serve(socket)
            except (OSError, TimeoutError, ws.WebSocketException) as error:
                print(f"no link: {error or 'nothing heard'}", file=sys.stderr)
                code = getattr(getattr(error, "rcvd", None), "code", code)
            delay = 375 if code >= 4500 else 75 if code == 4001 else 1 if time.monotonic() - began > 60 else min(delay * 1.6, 20)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))


asyncio.run(Plugin(sys.argv[2]).run(sys.argv[1], *sys.argv[3:]))
