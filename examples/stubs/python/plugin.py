"""A whole towline plugin with none of the optional features: a pod is one process of this user. See README.md."""
import argparse, asyncio, atexit, contextlib, datetime, functools, json, os, pathlib, random, signal, sys, time, uuid  # noqa: E401

import websockets
from towline.v1 import call_pb2 as call, link_pb2 as link, log_pb2 as log, pod_pb2 as pods


def failure(code, reason, message):
    return call.Response(status=call.Status(code=code, reason=reason, message=message))


class Plugin:  # the pods, which outlive every link, and one answer to each of the hub's calls
    def __init__(self, args):
        self.args, self.pods, self.tasks, self.retry_after = args, {}, set(), 0
        self.instance, self.jobs_epoch = str(uuid.uuid4()), time.time_ns()

    async def create_pod(self, op):
        existed = op.pod.uid in self.pods  # the hub repeats a create whose answer was lost
        if not existed:
            try:
                spec = json.loads(op.payload)["pod"]["spec"]
                [container] = (spec.get("initContainers") or []) + spec["containers"]
                with open(str(uuid.UUID(op.pod.uid)), "wb") as out:
                    process = await asyncio.create_subprocess_exec(
                        *container["command"], *container.get("args") or [], start_new_session=True, stdout=out, stderr=out,
                        env=os.environ | {item["name"]: item.get("value") or "" for item in container.get("env") or []})
            except (LookupError, TypeError, ValueError, OSError) as error:
                return failure(9, "BAD_POD", f"not one container with a command that runs here: {error!r}")
            job = self.pods[op.pod.uid] = pods.PodState(pod=op.pod, job_id=str(process.pid), presence=pods.PRESENCE_PRESENT)
            job.containers.add(name=container["name"]).running.started_at.GetCurrentTime()
            self.tasks.add(task := asyncio.create_task(self.wait(process, job.containers[0])))
            task.add_done_callback(self.tasks.discard)
        return call.Response(create_pod=call.CreateResult(job_id=self.pods[op.pod.uid].job_id, existed=existed))

    async def wait(self, process, container):
        code = await process.wait()
        container.terminated.CopyFrom(pods.ContainerTerminated(
            started_at=container.running.started_at, finished_at=datetime.datetime.now(datetime.timezone.utc),
            exit_code=code if code >= 0 else 128 - code, signal=max(0, -code), reason="Error" if code else "Completed"))

    def kill(self, uid, number):
        if uid in self.pods and self.pods[uid].containers[0].HasField("running"):
            os.killpg(int(self.pods[uid].job_id), number)

    async def delete_pod(self, op):  # answers at once: the hub sees the end in a later status
        grace, later = op.grace_seconds if op.HasField("grace_seconds") else 30, asyncio.get_running_loop().call_later
        self.kill(op.pod.uid, signal.SIGTERM)
        later(grace, self.kill, op.pod.uid, signal.SIGKILL)
        later(grace + 5, self.pods.pop, op.pod.uid, None)  # until then who follows the log gets its end
        return call.Response(delete_pod=call.DeleteResult(existed=op.pod.uid in self.pods))

    async def get_status(self, op):
        named = (self.pods.get(pod.uid, pods.PodState(pod=pod, presence=pods.PRESENCE_ABSENT)) for pod in op.pods)
        return call.Response(get_status=call.StatusResult(pods=self.pods.values() if op.all else named))

    async def logs(self, op, send):  # one bounded read: the hub follows by asking again from where it ended
        options, [container] = op.options, self.pods[op.pod.uid].containers if op.pod.uid in self.pods else [None]
        if not container or op.container not in ("", container.name) or options.previous:
            return failure(5, "NO_LOG" if container else "POD_NOT_FOUND", "there is no such log here")
        if options.timestamps or options.HasField("since_time"):
            return failure(12, "NOT_SUPPORTED", "this plugin keeps no times of log lines")
        ended, at = container.HasField("terminated"), log.LogPosition(epoch=1)
        with open(op.pod.uid, "rb") as file:  # whole, if it had ended before
            size, left = os.fstat(file.fileno()).st_size, options.limit_bytes
            reset = op.HasField("start") and (op.start.epoch != 1 or op.start.offset > size)
            at.offset = 0 if reset else op.start.offset
            if options.HasField("tail"):
                at.offset = min(size, sum(map(len, file.readlines()[:-options.tail or None])))
            await send(log_chunk=log.LogChunk(at=at, next_offset=at.offset, reset=reset))  # says that the log is open
            file.seek(at.offset)
            while data := file.read(min(32 << 10, left, size - at.offset)):
                await send(log_chunk=log.LogChunk(at=at, next_offset=at.offset + len(data), data=data))
                at.offset, left = at.offset + len(data), left - len(data)
        return call.Response(logs_end=log.LogsEnd(next=at, eof=ended and at.offset == size, reset=reset))

    async def answer(self, frame, send):
        try:
            if frame.HasField("stream_logs"):
                return await self.logs(frame.stream_logs, send)
            if (op := frame.request.WhichOneof("op")) in ("create_pod", "delete_pod", "get_status"):
                return await getattr(self, op)(getattr(frame.request, op))
            return failure(12, "NO_SUCH_OP", "this plugin cannot do that")
        except Exception as error:  # a fault of one call must not end the link
            return failure(13, "PLUGIN_ERROR", repr(error))

    async def serve(self, socket, idle=60, last=0):
        async def send(stream, **body):
            await socket.send(link.Packet(frames=[link.Frame(stream=stream, **body)]).SerializeToString())
        await send(0, register=link.Register(
            role=link.ROLE_PLUGIN, plugin=self.args.name, instance=self.instance, type="python", jobs_epoch=self.jobs_epoch,
            node_status=link.NodeStatus(ready=True, cpu=str(os.cpu_count()))))
        while True:
            for frame in link.Packet.FromString(await asyncio.wait_for(socket.recv(decode=False), idle)).frames:
                kind = frame.WhichOneof("body")
                if kind == "welcome":
                    idle = frame.welcome.idle_ms / 1000 or idle
                elif kind == "ping":
                    await send(0, pong=link.Pong(id=frame.ping.id))
                elif kind == "go_away":
                    self.retry_after = frame.go_away.retry_after_ms / 1000
                elif kind in ("request", "stream_logs", None) and frame.stream > last:
                    last = frame.stream
                    await send(last, response=await self.answer(frame, functools.partial(send, last)))


async def main(args):
    plugin, delay = Plugin(args), 0
    atexit.register(lambda: [plugin.kill(uid, signal.SIGKILL) for uid in plugin.pods])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    while True:
        began, plugin.retry_after, code = time.monotonic(), 0, 1006
        try:
            auth = {"Authorization": f"Bearer {pathlib.Path(args.token_file).read_text().strip()}"} if args.token_file else {}
            async with websockets.connect(
                    args.hub, subprotocols=["towline.v1.proto"], additional_headers=auth, max_size=16 << 20) as socket:
                await plugin.serve(socket)
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            print(f"no link: {error or 'nothing heard'}", file=sys.stderr)
            code = getattr(getattr(error, "rcvd", None), "code", code)
        least, most, factor = (375, 375, 1) if code >= 4500 else (60, 600, 2) if code == 4001 else (1, 20, 1.6)
        delay = min(max(least, factor * (delay if time.monotonic() - began < 60 else 0)), most)
        await asyncio.sleep(max(delay * random.uniform(0.8, 1.2), plugin.retry_after))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, default in {"--hub": "ws://127.0.0.1:3000/ws", "--name": "python", "--token-file": None}.items():
        parser.add_argument(flag, default=default)
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
