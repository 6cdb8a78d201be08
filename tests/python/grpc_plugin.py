"""A plugin from stock gRPC stubs: it answers status and creates, and prints how its call ended."""
import argparse, queue, sys  # noqa: E401

import grpc
from towline.v1 import call_pb2 as call, link_pb2 as link, link_pb2_grpc as stubs


def serve(packets, send):
    for packet in packets:
        for frame in packet.frames:
            kind = frame.WhichOneof("body")
            if kind == "welcome":
                print("welcome", flush=True)
            elif kind == "ping":
                send(0, pong=link.Pong(id=frame.ping.id))
            elif kind == "go_away":
                print("go_away", frame.go_away.code, frame.go_away.reason, flush=True)
            elif kind == "request":
                op = frame.request.WhichOneof("op")
                if op == "create_pod":
                    job = "job-of-" + frame.request.create_pod.pod.name
                    answer = call.Response(create_pod=call.CreateResult(job_id=job))
                elif op == "get_status":
                    answer = call.Response(get_status=call.StatusResult())
                else:
                    answer = call.Response(status=call.Status(code=12, reason="NO_SUCH_OP", message="not here"))
                send(frame.stream, response=answer)


def main(hub, token):
    packets = queue.Queue()

    def send(stream, **body):
        packets.put(link.Packet(frames=[link.Frame(stream=stream, **body)]))

    send(0, register=link.Register(
        role=link.ROLE_PLUGIN, plugin="stock", instance="1", type="python", node_status=link.NodeStatus(ready=True)))
    options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(hub, options) as channel:
        try:
            answers = stubs.LinkServiceStub(channel).Connect(
                iter(packets.get, None), metadata=[("authorization", "Bearer " + token)])
            serve(answers, send)
            print("end", answers.code().name, answers.details(), flush=True)
        except grpc.RpcError as error:
            print("end", error.code().name, error.details(), flush=True)
        packets.put(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hub")
    parser.add_argument("token")
    arguments = parser.parse_args()
    sys.exit(main(arguments.hub, arguments.token))
