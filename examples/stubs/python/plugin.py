"""A whole towline plugin: runs each container of a pod as a process of this user. See README.md."""
import argparse, asyncio, contextlib, json, math, os, pathlib, random, re, signal, sys, time, uuid  # noqa: E401

import websockets
from towline.v1 import call_pb2 as call, event_pb2 as event, link_pb2 as link, log_pb2 as log, pod_pb2 as pods

MAX_MESSAGE = 16 << 20


class Failed(Exception):
    """Ends a call with a status: gRPC code, reason word, text for people."""


class Container:
    def __init__(self, spec, directory):
        self.spec, self.directory, self.log = spec, directory, directory / f"{spec['name']}.log"
        self.state = pods.ContainerState(name=spec["name"], image=spec.get("image", ""))
        self.state.waiting.reason, self.process = "ContainerCreating", None
        self.log.touch()

    async def run(self, changed):
        argv, code, end = self.spec["command"] + (self.spec.get("args") or []), 127, pods.ContainerTerminated()
        env = os.environ | {v["name"]: v.get("value") or "" for v in self.spec.get("env") or []}
        try:
            with open(self.log, "wb") as out:
                self.process = await asyncio.create_subprocess_exec(
                    *argv, stdout=out, stderr=out, env=env, cwd=self.directory, start_new_session=True)
            self.state.running.started_at.GetCurrentTime()
            self.state.ready = self.state.started = True
            end.started_at.CopyFrom(self.state.running.started_at)
            changed(event.POD_EVENT_TYPE_STARTED)
            code = await self.process.wait()
        except (OSError, ValueError) as error:
            end.message = f"cannot start {argv[0]}: {error}"
        end.exit_code, end.signal, end.reason = (128 - code if code < 0 else code), max(0, -code), "Error" if code else "Completed"
        end.finished_at.GetCurrentTime()
        self.state.ready = False
        self.state.terminated.CopyFrom(end)
        changed(event.POD_EVENT_TYPE_UPDATED)

    def kill(self, number):
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, number)


class Plugin:
    """The pods and the outbox. They outlive every link."""

    def __init__(self, args):
        self.args, self.pods, self.refs, self.outbox, self.seq, self.tasks = args, {}, {}, {}, 0, set()
        self.epoch, self.instance, self.changed = time.time_ns(), str(uuid.uuid4()), asyncio.Event()

    def spawn(self, work):
        self.tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self.tasks.discard)

    def state(self, ref, presence=pods.PRESENCE_PRESENT):
        containers = [c.state for c in self.pods.get(ref.uid, [])]
        presence = presence if containers else pods.PRESENCE_ABSENT
        return pods.PodState(pod=ref, job_id=ref.uid, seq=self.seq, presence=presence, containers=containers)

    def push(self, ref, kind):
        self.seq += 1
        self.outbox[ref.uid] = event.PodEvent(epoch=self.epoch, seq=self.seq, type=kind, state=self.state(ref))
        self.changed.set()

    def acked(self, ack):
        if ack.epoch == self.epoch:
            self.outbox = {uid: e for uid, e in self.outbox.items() if e.seq > ack.seq}
            self.changed.set()

    def create_pod(self, op):
        existed = op.pod.uid in self.pods  # the hub repeats a create whose answer was lost
        if not existed:
            try:
                containers = json.loads(op.payload)["pod"]["spec"]["containers"]
                if not all(re.fullmatch("[a-z0-9-]{1,63}", c["name"]) and c["command"] for c in containers):
                    raise ValueError("a container has a bad name")
                directory = self.args.state_dir / str(uuid.UUID(op.pod.uid))
                directory.mkdir(parents=True, exist_ok=True)
                self.refs[op.pod.uid] = op.pod
                self.pods[op.pod.uid] = [Container(c, directory) for c in containers]
            except (ValueError, KeyError, TypeError) as error:
                raise Failed(9, "BAD_POD", f"needs containers with name and command: {error!r}") from None
            self.push(op.pod, event.POD_EVENT_TYPE_CREATED)
            for container in self.pods[op.pod.uid]:
                self.spawn(container.run(lambda kind: self.push(op.pod, kind)))
        return call.Response(create_pod=call.CreateResult(job_id=op.pod.uid, existed=existed))

    def delete_pod(self, op):  # answers at once; the end comes as an event
        if op.pod.uid in self.pods:
            self.spawn(self.end(op.pod, op.grace_seconds if op.HasField("grace_seconds") else 30))
        return call.Response(delete_pod=call.DeleteResult(existed=op.pod.uid in self.pods))

    async def end(self, ref, grace):
        deadline = time.monotonic() + grace
        while any(not c.state.HasField("terminated") for c in self.pods.get(ref.uid, [])):
            for container in self.pods[ref.uid]:
                container.kill(signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            await asyncio.sleep(0.2)
        if self.pods.pop(ref.uid, None):
            del self.refs[ref.uid]
            self.push(ref, event.POD_EVENT_TYPE_DELETED)

    def get_status(self, op):
        if not op.all:
            return call.Response(get_status=call.StatusResult(as_of=self.seq, pods=map(self.state, op.pods)))
        size, rest = min(op.page_size or 1000, 1000), sorted(uid for uid in self.pods if uid > op.page_token)
        page = [self.state(self.refs[uid]) for uid in rest[:size]]
        more = rest[size - 1] if len(rest) > size else ""
        return call.Response(get_status=call.StatusResult(as_of=self.seq, pods=page, next_page_token=more))


class Link:
    """One connection: frames in, answers out."""

    def __init__(self, plugin, socket):
        self.plugin, self.socket, self.calls, self.last, self.retry_after = plugin, socket, {}, 0, 0
        self.credit, self.granted = {}, asyncio.Condition()

    async def send(self, stream, **body):
        await self.socket.send(link.Packet(frames=[link.Frame(stream=stream, **body)]).SerializeToString())

    async def run(self):
        p, idle, tasks = self.plugin, 60, []
        oldest = min((e.seq for e in p.outbox.values()), default=p.seq + 1)
        await self.send(0, register=link.Register(
            role=link.ROLE_PLUGIN, plugin=p.args.name, instance=p.instance, type="python", software="python-stub/1.0",
            features=["flow_control", "events"], limits=link.Limits(max_message_bytes=MAX_MESSAGE), jobs_epoch=p.epoch,
            outbox=link.Outbox(epoch=p.epoch, oldest_seq=oldest, next_seq=p.seq + 1, acked_seq=oldest - 1),
            node_status=link.NodeStatus(ready=True, cpu=str(os.cpu_count()))))
        try:
            while True:
                async with asyncio.timeout(idle):
                    data = await self.socket.recv(decode=False)
                for frame in link.Packet.FromString(data).frames:
                    kind = frame.WhichOneof("body")
                    new, self.last = frame.stream > self.last, max(self.last, frame.stream)
                    if kind == "welcome":
                        idle = frame.welcome.idle_ms / 1000 or 60
                        p.acked(frame.welcome.applied)
                        tasks.append(asyncio.create_task(self.events(frame.welcome.limits.max_unacked_events or 256)))
                    elif kind == "ping":
                        await self.send(0, pong=link.Pong(id=frame.ping.id))
                    elif kind == "event_ack":
                        p.acked(frame.event_ack)
                    elif kind == "go_away":
                        self.retry_after = frame.go_away.retry_after_ms / 1000
                    elif kind == "credit" and frame.stream in self.credit:
                        async with self.granted:
                            self.credit[frame.stream] += frame.credit.bytes
                            self.granted.notify_all()
                    elif kind == "cancel_stream" and frame.stream in self.calls:
                        self.calls[frame.stream].cancel()
                    elif new and kind in ("request", "stream_logs", None):
                        self.credit[frame.stream] = frame.stream_logs.credit
                        self.calls[frame.stream] = asyncio.create_task(self.serve(frame.stream, frame))
        finally:
            for task in tasks + list(self.calls.values()):
                task.cancel()

    async def serve(self, stream, frame):
        """Answers one call, exactly once."""
        try:
            op = frame.request.WhichOneof("op")
            if frame.WhichOneof("body") == "stream_logs":
                response = await self.logs(stream, frame.stream_logs)
            elif op in ("create_pod", "delete_pod", "get_status"):
                response = getattr(self.plugin, op)(getattr(frame.request, op))
            else:
                raise Failed(12, "NO_SUCH_OP", "this plugin cannot do that")
        except (Failed, asyncio.CancelledError, Exception) as error:  # a fault of one call must not end the link
            code, reason, text = error.args if isinstance(error, Failed) else (13, "PLUGIN_ERROR", repr(error))
            code = 1 if isinstance(error, asyncio.CancelledError) else code
            response = call.Response(status=call.Status(code=code, reason=reason, message=text))
        del self.calls[stream], self.credit[stream]
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.send(stream, response=response)

    async def logs(self, stream, request):
        containers, options = self.plugin.pods.get(request.pod.uid, []), request.options
        container = next((c for c in containers if request.container in ("", c.state.name)), None)
        if not container or options.previous:
            raise Failed(5, "NO_LOG" if containers else "POD_NOT_FOUND", "there is no such log here")
        if options.timestamps or options.HasField("since_time"):
            raise Failed(12, "NOT_SUPPORTED", "this plugin keeps no times of log lines")
        with open(container.log, "rb") as file:
            size, offset, reset = file.seek(0, 2), 0, False
            if request.HasField("start"):
                reset = request.start.epoch > 1 or request.start.offset > size
                offset = 0 if reset else request.start.offset
            elif options.HasField("tail"):  # among the last MiB
                file.seek(max(0, size - (1 << 20)))
                lines = file.read(size).splitlines(keepends=True)
                offset = size - sum(map(len, lines[max(0, len(lines) - options.tail):]))
            left, first = options.limit_bytes if options.HasField("limit_bytes") else math.inf, True
            file.seek(offset)
            while True:
                over = container.state.HasField("terminated")
                data = file.read(min(32 << 10, left))
                if data or first:  # the first chunk, possibly empty, says that the log is open
                    async with self.granted:  # a chunk costs its bytes and 64
                        await self.granted.wait_for(lambda: self.credit[stream] >= len(data) + 64)
                        self.credit[stream] -= len(data) + 64
                    at, offset, left = log.LogPosition(epoch=1, offset=offset), offset + len(data), left - len(data)
                    chunk = log.LogChunk(at=at, next_offset=offset, data=data, reset=reset and first)
                    first = await self.send(stream, log_chunk=chunk)
                elif over or not left or not options.follow:
                    end = log.LogPosition(epoch=1, offset=offset)
                    return call.Response(logs_end=log.LogsEnd(next=end, eof=over and left > 0, reset=reset))
                else:
                    await asyncio.sleep(0.1)

    async def events(self, limit):
        """Sends the outbox in order; never more than `limit` without an acknowledgement."""
        p, sent = self.plugin, 0
        while True:
            p.changed.clear()
            if not any(e.seq <= sent for e in p.outbox.values()):
                for item in sorted(p.outbox.values(), key=lambda e: e.seq)[:limit]:
                    sent = item.seq
                    await self.send(0, pod_event=item)
            await p.changed.wait()


async def main(args):
    plugin, delay, subprotocol = Plugin(args), 1.0, "towline.v1.proto"
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asyncio.current_task().cancel)
    try:
        while True:
            began, current, wait = time.monotonic(), None, 0
            try:
                token = {"Authorization": f"Bearer {args.token_file.read_text().strip()}"} if args.token_file else {}
                async with websockets.connect(args.hub, subprotocols=[subprotocol], additional_headers=token,
                                              max_size=MAX_MESSAGE, compression=None, ping_interval=None) as socket:
                    current = Link(plugin, socket)
                    await current.run()
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                print(f"no link: {error or 'nothing heard'}", file=sys.stderr)
                code = getattr(getattr(error, "rcvd", None), "code", 1006)
                wait = 300 if code >= 4500 else 60 if code == 4001 else current.retry_after if current else 0
            delay = 1.0 if time.monotonic() - began > 60 else min(delay * 1.6, 20)
            await asyncio.sleep(max(delay * random.uniform(0.8, 1.2), wait))
    except asyncio.CancelledError:
        for container in (c for pod in plugin.pods.values() for c in pod):
            container.kill(signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hub", default="ws://127.0.0.1:3000/ws")
    parser.add_argument("--name", default="python")
    parser.add_argument("--token-file", type=pathlib.Path)
    parser.add_argument("--state-dir", type=pathlib.Path, default=pathlib.Path("towline-python"))
    asyncio.run(main(parser.parse_args()))
