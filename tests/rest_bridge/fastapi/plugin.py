"""A plugin in the shape of interLink's public Python SDK: FastAPI, lists of one, `pods[0]`, 404 with a detail.

Pods are processes; their logs are files in the directory that is the only argument.
"""

import subprocess
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel


class Metadata(BaseModel):
    name: str
    namespace: str
    uid: str


class Container(BaseModel):
    name: str
    image: str
    command: list[str] | None = None


class Spec(BaseModel):
    containers: list[Container]


class PodRequest(BaseModel):
    metadata: Metadata
    spec: Spec


class Pod(BaseModel):
    pod: PodRequest
    container: list[dict]
    jobConfig: dict


class CreateStruct(BaseModel):
    PodUID: str
    PodJID: str


class LogRequest(BaseModel):
    PodUID: str
    ContainerName: str


app = FastAPI()
logs = Path(sys.argv[1])
running: dict[str, subprocess.Popen] = {}


def job_of(uid: str) -> subprocess.Popen:
    if uid not in running:
        raise HTTPException(status_code=404, detail="No containers found")
    return running[uid]


@app.post("/create")
async def create(pods: list[Pod]) -> list[CreateStruct]:
    pod = pods[0].pod
    command = pod.spec.containers[0].command
    if not command:
        raise HTTPException(status_code=500, detail=f"{pod.metadata.name}: no command:\nthis site pulls no images")
    with open(logs / pod.metadata.uid, "wb") as log:
        running[pod.metadata.uid] = subprocess.Popen(command, stdout=log, stdin=subprocess.DEVNULL)
    return [CreateStruct(PodUID=pod.metadata.uid, PodJID=str(running[pod.metadata.uid].pid))]


@app.post("/delete")
async def delete(pod: PodRequest) -> str:
    job_of(pod.metadata.uid).kill()
    running.pop(pod.metadata.uid).wait()
    return "Pod deleted"


@app.get("/status")
async def status(pods: list[PodRequest]) -> list[dict]:
    pod = pods[0]
    code = job_of(pod.metadata.uid).poll()
    state = {"running": {}} if code is None else {"terminated": {"exitCode": code, "reason": "Ended"}}
    container = {"name": pod.spec.containers[0].name, "state": state}
    return [{"name": pod.metadata.name, "UID": pod.metadata.uid, "namespace": pod.metadata.namespace,
             "containers": [container]}]


@app.get("/getLogs", response_class=PlainTextResponse)
async def get_logs(request: LogRequest) -> Response:
    job_of(request.PodUID)
    return Response((logs / request.PodUID).read_bytes(), media_type="text/plain")


uvicorn.run(app, host="127.0.0.1", port=0)
