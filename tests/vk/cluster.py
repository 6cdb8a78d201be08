"""A Kubernetes control plane, a hub, plugins and virtual kubelets: processes on loopback, below one directory."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, probe, seconds=60):
    """Asks `probe` until its answer is true, and returns that; `what` says what was missing."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            if last := probe():
                return last
        except (OSError, subprocess.CalledProcessError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what} (last: {last!r})")


class Cluster:
    """Starts what it is asked for, and ends all of it on leaving."""

    def __init__(self, directory, towline, virtual_kubelet):
        self.dir = pathlib.Path(directory)
        self.towline, self.virtual_kubelet = towline, virtual_kubelet
        self.processes = {}
        self.hub_port = free_port()
        self.kubeconfig = self.dir / "kubeconfig"
        self.token = self.dir / "token"
        # As README.md says it: without a line end.
        self.token.write_text(os.urandom(16).hex())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Plugins before the hub, the API server before etcd.
        for name in reversed(list(self.processes)):
            self.stop(name)

    def start(self, name, *command, **environment):
        log = open(self.dir / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(
            [str(word) for word in command],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=self.dir,
            env={**os.environ, **{key: str(value) for key, value in environment.items()}},
        )
        log.close()

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def control_plane(self):
        client, peer, port = free_port(), free_port(), free_port()
        etcd, peer = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.start(
            "etcd", "etcd", "--data-dir", self.dir / "etcd",
            "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        )  # fmt: skip
        key = self.dir / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        admin = os.urandom(16).hex()
        (self.dir / "tokens.csv").write_text(f'{admin},admin,1,"system:masters"\n')
        self.kubeconfig.write_text(KUBECONFIG.format(port=port, token=admin))
        self.start(
            "kube-apiserver", "kube-apiserver", "--etcd-servers", etcd,
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
            "--cert-dir", self.dir / "certs", "--token-auth-file", self.dir / "tokens.csv",
            "--authorization-mode", "AlwaysAllow", "--service-cluster-ip-range", "10.0.0.0/24",
            "--endpoint-reconciler-type", "none", "--kubelet-preferred-address-types", "InternalIP",
            "--service-account-issuer", "https://127.0.0.1", "--service-account-key-file", key,
            "--service-account-signing-key-file", key,
        )  # fmt: skip
        insecure = ssl._create_unverified_context()
        ready = urllib.request.Request(
            f"https://127.0.0.1:{port}/readyz", headers={"Authorization": f"Bearer {admin}"}
        )
        wait_for("the API server is ready", lambda: urllib.request.urlopen(ready, context=insecure).status == 200, 180)
        # What the controller manager would have made.
        self.kubectl("create", "serviceaccount", "default")
        self.kubectl("create", "configmap", "kube-root-ca.crt", f"--from-file=ca.crt={self.dir}/certs/apiserver.crt")

    def hub(self, *flags):
        listen = f"127.0.0.1:{self.hub_port}"
        self.start("hub", self.towline, "hub", "--listen", listen, "--token-file", self.token, *flags)
        wait_for("the hub answers", lambda: urllib.request.urlopen(f"http://{listen}/healthz").status == 200)

    def plugin(self, name):
        self.start(
            f"plugin-{name}", self.towline, "plugin", "--hub", f"ws://127.0.0.1:{self.hub_port}/ws", "--name", name,
            "--token-file", self.token, "--state-dir", self.dir / f"state-{name}", "--label", f"node={name}",
        )  # fmt: skip

    def plugin_pid(self, name):
        return self.processes[f"plugin-{name}"].pid

    def vk(self, node, plugin):
        """A virtual kubelet with the configuration in README.md; only addresses and the token's path differ."""
        readme = (REPO / "README.md").read_text()
        config = re.search(r"```yaml\n(InterlinkURL.*?)```", readme, re.S)[1]
        for old, new in (
            ("http://towline-hub.interlink.svc", "http://127.0.0.1"),
            ("3000/nodes/site1", f"{self.hub_port}/nodes/{plugin}"),
            ("/run/secrets/towline/token", str(self.token)),
        ):
            assert old in config, f"README.md's configuration has no {old}"
            config = config.replace(old, new)
        path = self.dir / f"{node}.yaml"
        path.write_text(config)
        self.start(
            f"vk-{node}", self.virtual_kubelet, "-nodename", node, "-configpath", path,
            KUBECONFIG=self.kubeconfig, KUBELET_URL="127.0.0.1", KUBELET_PORT=free_port(), POD_IP="127.0.0.1",
        )  # fmt: skip

    def kubectl(self, *words, text=None, check=True):
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command[3:])}: {done.stderr.strip()}")
        return done.stdout if check else done

    def follow(self, pod, *flags):
        """`kubectl logs -f` as a process; its output below `pod`'s name."""
        out = open(self.dir / f"{pod}.follow", "wb")
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "logs", "-f", pod, *flags]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        out.close()
        return process

    def followed(self, pod):
        return (self.dir / f"{pod}.follow").read_text()

    def get(self, kind, name):
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", text="\n---\n".join(json.dumps(it) for it in objects))

    def ready(self, node):
        conditions = self.get("node", node)["status"]["conditions"]
        return next(it["status"] for it in conditions if it["type"] == "Ready") == "True"

    def phase(self, pod):
        return self.get("pod", pod)["status"].get("phase")

    def until_phase(self, pod, phase, seconds=60):
        wait_for(f"pod {pod} is {phase}", lambda: self.phase(pod) == phase, seconds)
        return self.get("pod", pod)["status"]

    def towline_json(self, *words):
        command = [self.towline, *words, "-o", "json", "--hub", f"http://127.0.0.1:{self.hub_port}"]
        command += ["--token-file", str(self.token)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def gone(self, pod):
        return self.kubectl("get", "pod", pod, "--ignore-not-found").strip() == ""

    def remove_files(self):
        shutil.rmtree(self.dir, ignore_errors=True)
