"""What is checked: each `check_*` gets a cluster with two ready nodes, vk-site1 and vk-site2."""

import signal

from cluster import wait_for


def sh(script, name="main", **more):
    return {"name": name, "image": "none", "command": ["/bin/sh", "-c", script], **more}


def pod(name, *containers, node="vk-site1", **spec):
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": list(containers), **spec}
    spec.setdefault("terminationGracePeriodSeconds", 2)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def ended(status, container=0):
    return status["containerStatuses"][container]["state"]["terminated"]


def numbers(count):
    return "".join(f"line {n}\n" for n in range(1, count + 1))


def count_to(count, pause):
    return f"n=0; while [ $n -lt {count} ]; do n=$((n+1)); echo line $n; sleep {pause}; done"


def check_node_has_what_its_plugin_has(cluster):
    node = cluster.get("node", "vk-site1")
    plugin = next(it for it in cluster.towline_json("get", "plugins")["items"] if it["name"] == "site1")
    print("  capacity", node["status"]["capacity"], plugin)


def check_plain_pod_succeeds_and_its_log_is_whole(cluster):
    cluster.apply(pod("plain", sh("for n in 1 2 3; do echo line $n; done; echo oops >&2")))
    status = cluster.until_phase("plain", "Succeeded")
    assert ended(status)["exitCode"] == 0, status
    log = cluster.kubectl("logs", "plain")
    assert sorted(log.splitlines()) == ["line 1", "line 2", "line 3", "oops"], log
    assert cluster.kubectl("logs", "plain", "--tail=1").count("\n") == 1
    assert cluster.kubectl("logs", "plain", "--limit-bytes=4") == log[:4]
    assert cluster.kubectl("logs", "plain", "--timestamps")[:2] == "20"


def check_volumes_containers_and_init_container(cluster):
    cluster.kubectl("create", "configmap", "settings", "--from-literal=colour=green")
    cluster.kubectl("create", "secret", "generic", "password", "--from-literal=word=xyzzy")
    mounts = [
        {"name": "settings", "mountPath": "/vk/settings"},
        {"name": "password", "mountPath": "/vk/password"},
        {"name": "token", "mountPath": "/vk/token"},
        {"name": "scratch", "mountPath": "/vk/scratch"},
    ]
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    first = (
        "cat /vk/settings/colour /vk/password/word /vk/scratch/init; echo $COLOUR $WHO; "
        f"wc -c < /vk/token/here > /dev/null && cut -c1-2 /vk/token/here; ls {account}; echo one > /vk/scratch/one"
    )
    second = "until [ -e /vk/scratch/one ]; do sleep 0.1; done; cat /vk/scratch/one"
    from_settings = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
    cluster.apply(
        pod(
            "volumes",
            sh(first, "first", volumeMounts=mounts, env=[
                {"name": "COLOUR", "valueFrom": from_settings},
                {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]),
            sh(second, "second", volumeMounts=mounts),
            initContainers=[sh("echo from-init > /vk/scratch/init; echo init ran", "init", volumeMounts=mounts)],
            volumes=[
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "password", "secret": {"secretName": "password"}},
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "here"}}]}},
                {"name": "scratch", "emptyDir": {}},
            ],
        )
    )  # fmt: skip
    wait_for("pod volumes ended", lambda: cluster.phase("volumes") in ("Succeeded", "Failed"))
    log = cluster.kubectl("logs", "volumes", "-c", "first")
    assert cluster.phase("volumes") == "Succeeded", (cluster.get("pod", "volumes")["status"], log)
    assert log.split() == "greenxyzzyfrom-init green volumes ey ca.crt namespace token".split(), log
    assert cluster.kubectl("logs", "volumes", "-c", "second") == "one\n"
    assert cluster.kubectl("logs", "volumes", "-c", "init") == "init ran\n"


def check_failing_container_fails_the_pod_with_its_code(cluster):
    cluster.apply(pod("three", sh("echo no; exit 3"), sh("exit 0", "fine")))
    status = cluster.until_phase("three", "Failed")
    codes = {it["name"]: it["state"]["terminated"]["exitCode"] for it in status["containerStatuses"]}
    assert codes == {"main": 3, "fine": 0}, status


def check_failing_init_container_fails_the_pod(cluster):
    cluster.apply(pod("badinit", sh("echo never"), initContainers=[sh("exit 4", "init")]))
    status = cluster.until_phase("badinit", "Failed")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4, status


def check_pod_without_command_fails_with_the_plugins_words(cluster):
    cluster.apply(pod("image-only", {"name": "main", "image": "busybox"}))
    status = cluster.until_phase("image-only", "Failed")
    assert "HTTP 422" in status["message"] and "command" in status["message"], status


def check_on_failure_runs_again(cluster):
    volume = {"volumes": [{"name": "v", "emptyDir": {}}]}
    once = sh("[ -e /vk/v/x ] || { touch /vk/v/x; exit 1; }", volumeMounts=[{"name": "v", "mountPath": "/vk/v"}])
    cluster.apply(pod("again", once, restartPolicy="OnFailure", **volume))
    status = cluster.until_phase("again", "Succeeded", 90)
    assert status["containerStatuses"][0]["restartCount"] == 1, status


def check_always_is_between_runs_and_not_over(cluster):
    cluster.apply(pod("always", sh("exit 0"), restartPolicy="Always"))

    def has_restarted():
        status = cluster.get("pod", "always")["status"]
        assert status["phase"] in ("Pending", "Running"), status
        return any(it["restartCount"] >= 2 for it in status.get("containerStatuses", []))

    wait_for("two restarts", has_restarted, 120)
    cluster.kubectl("delete", "pod", "always", "--timeout=30s")


def check_delete_ends_the_process(cluster):
    cluster.apply(pod("forever", sh("trap 'exit 0' TERM; while :; do sleep 0.1; done")))
    cluster.until_phase("forever", "Running")
    uid = cluster.get("pod", "forever")["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "forever", "--timeout=30s")
    wait_for("the hub has forgotten the pod", lambda: uid not in str(cluster.towline_json("get", "pods", "-A")))
    assert not list((cluster.dir / "state-site1").glob(f"**/{uid}/**/log*")), "the state directory has it still"


def check_followed_log_outlives_a_killed_plugin(cluster):
    cluster.apply(pod("steady", sh(count_to(60, 0.5))))
    cluster.until_phase("steady", "Running")
    reader = cluster.follow("steady")
    wait_for("the log begins", lambda: "line 5\n" in cluster.followed("steady"))
    cluster.stop("plugin-site1", signal.SIGKILL)
    cluster.plugin("site1")
    cluster.until_phase("steady", "Succeeded", 120)
    reader.wait(30)
    assert cluster.followed("steady") == numbers(60), cluster.followed("steady")


def check_pod_outlives_a_hub_restart(cluster):
    cluster.apply(pod("firm", sh(count_to(40, 0.5))))
    cluster.until_phase("firm", "Running")
    cluster.stop("hub", signal.SIGKILL)
    cluster.hub()
    cluster.until_phase("firm", "Succeeded", 120)
    assert cluster.kubectl("logs", "firm") == numbers(40)


def check_pod_outlives_a_restart_of_the_virtual_kubelet(cluster):
    cluster.apply(pod("twice", sh("echo started; " + count_to(40, 0.5))))
    cluster.until_phase("twice", "Running")
    cluster.stop("vk-vk-site1", signal.SIGKILL)
    cluster.vk("vk-site1", "site1")
    cluster.until_phase("twice", "Succeeded", 120)
    assert cluster.kubectl("logs", "twice").count("started") == 1


def check_create_waits_and_delete_is_kept_while_the_plugin_is_away(cluster):
    cluster.apply(pod("leaver", sh("while :; do sleep 1; done")))
    cluster.until_phase("leaver", "Running")
    uid = cluster.get("pod", "leaver")["metadata"]["uid"]
    cluster.stop("plugin-site1")
    cluster.apply(pod("waiter", sh("echo here")))
    cluster.kubectl("delete", "pod", "leaver", "--timeout=30s")
    assert cluster.gone("leaver")
    cluster.plugin("site1")
    cluster.until_phase("waiter", "Succeeded", 90)
    wait_for("the kept delete is done", lambda: uid not in str(cluster.towline_json("get", "pods", "-A")))


def check_node_of_an_absent_plugin_is_not_ready_and_the_other_is(cluster):
    cluster.stop("plugin-site1")
    wait_for("vk-site1 is NotReady", lambda: not cluster.ready("vk-site1"), 150)
    assert cluster.ready("vk-site2")
    conditions = cluster.get("node", "vk-site1")["status"]["conditions"]
    print("  ", next(it["message"] for it in conditions if it["type"] == "InterlinkConnectivity"))
    cluster.plugin("site1")
    wait_for("vk-site1 is Ready again", lambda: cluster.ready("vk-site1"), 90)


def check_two_plugins_run_their_own_nodes_pods(cluster):
    for site in ("site1", "site2"):
        cluster.apply(pod(f"at-{site}", sh(f"echo {site}; sleep 20"), node=f"vk-{site}"))
    for site in ("site1", "site2"):
        cluster.until_phase(f"at-{site}", "Running")
        assert cluster.kubectl("logs", f"at-{site}") == f"{site}\n"
    where = {it["name"]: it["plugin"] for it in cluster.towline_json("get", "pods", "-A")["items"] if "at-" in it["name"]}
    assert where == {"at-site1": "site1", "at-site2": "site2"}, where
