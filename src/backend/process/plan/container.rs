//! One container: its command, environment, mounts and hooks.

use super::{
    ContainerPlan, Delivery, MountPlan, VolumePlan, bad_pod, env, expand::expand, facts::Facts, files,
};
use crate::{
    backend::process::{machine::Kind, names, termination::Termination},
    interlink::{Container, HookHandler, RestartPolicy},
    wire::Status,
};

/// What an init container is for.
pub(super) fn init_kind(container: &Container) -> Result<Kind, Status> {
    match container.restart_policy {
        None => Ok(Kind::Init),
        Some(RestartPolicy::Always) => Ok(Kind::Sidecar),
        Some(other) => Err(bad_pod(format!(
            "init container {}: restartPolicy {other:?} is not supported; only Always is (a sidecar)",
            container.name
        ))),
    }
}

/// Plans one container.
pub(super) fn plan(
    container: &Container,
    kind: Kind,
    facts: &Facts<'_>,
    delivery: &Delivery,
    volumes: &[VolumePlan],
) -> Result<ContainerPlan, Status> {
    let name = &container.name;
    if container.command.first().is_none_or(String::is_empty) {
        return Err(bad_pod(format!(
            "container {name} has no command: this plugin runs local processes and has no image runtime, so the \
             image's own entrypoint is not known; set `command` in the pod spec"
        )));
    }
    let env = env::resolve(container, facts, delivery)?;
    let lookup = |wanted: &str| env::lookup(&env, wanted);
    let argv: Vec<String> = container
        .command
        .iter()
        .chain(&container.args)
        .map(|word| expand(word, lookup))
        .collect();
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(bad_pod(format!(
            "container {name}: command or args contain a NUL byte"
        )));
    }
    let mut mounts: Vec<MountPlan> = Vec::new();
    for mount in &container.volume_mounts {
        let at = format!(
            "container {name}: volumeMount {} at {:?}",
            mount.name, mount.mount_path
        );
        if let Err(wrong) = names::check_target(&mount.mount_path) {
            return Err(bad_pod(format!("{at}: mountPath {wrong}")));
        }
        let path = mount.mount_path.trim_end_matches('/').to_owned();
        if mounts.iter().any(|other| other.path == path) {
            return Err(bad_pod(format!("{at}: another volume is mounted there")));
        }
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else {
            return Err(bad_pod(format!("{at}: the pod has no such volume")));
        };
        let sub_path = match (mount.sub_path.is_empty(), mount.sub_path_expr.is_empty()) {
            (false, false) => {
                return Err(bad_pod(format!(
                    "{at}: subPath and subPathExpr exclude each other"
                )));
            }
            (false, true) => mount.sub_path.trim_end_matches('/').to_owned(),
            (true, false) => expand(&mount.sub_path_expr, lookup)
                .trim_end_matches('/')
                .to_owned(),
            (true, true) => String::new(),
        };
        if !sub_path.is_empty()
            && let Err(wrong) = names::check_inner(&sub_path)
        {
            return Err(bad_pod(format!("{at}: subPath {wrong}")));
        }
        if !sub_path.is_empty() && !volume.writable && !files::holds(volume, &sub_path) {
            return Err(bad_pod(format!("{at}: the volume has no {sub_path:?}")));
        }
        let read_only = mount.read_only || !volume.writable;
        mounts.push(MountPlan {
            volume: mount.name.clone(),
            sub_path,
            path,
            read_only,
        });
    }
    let working_dir = (!container.working_dir.is_empty()).then(|| container.working_dir.clone());
    if working_dir
        .as_ref()
        .is_some_and(|dir| !dir.starts_with('/') || dir.contains('\0'))
    {
        return Err(bad_pod(format!(
            "container {name}: workingDir must be an absolute path"
        )));
    }
    let hooks = container.lifecycle.as_ref();
    Ok(ContainerPlan {
        name: name.clone(),
        image: container.image.clone(),
        kind,
        argv,
        working_dir,
        mounts,
        post_start: hook(
            name,
            "postStart",
            hooks.and_then(|hooks| hooks.post_start.as_ref()),
        )?,
        pre_stop: hook(name, "preStop", hooks.and_then(|hooks| hooks.pre_stop.as_ref()))?,
        env,
        no_new_privileges: false,
        termination: Termination::default(),
        termination_path: String::new(),
    })
}

fn hook(container: &str, which: &str, hook: Option<&HookHandler>) -> Result<Option<Vec<String>>, Status> {
    let Some(hook) = hook else { return Ok(None) };
    if let Some(exec) = &hook.exec {
        if exec.command.first().is_none_or(String::is_empty) {
            return Err(bad_pod(format!(
                "container {container}: {which}.exec has no command"
            )));
        }
        return Ok(Some(exec.command.clone()));
    }
    if let Some(sleep) = &hook.sleep {
        return Ok(Some(vec!["sleep".to_owned(), sleep.seconds.to_string()]));
    }
    if hook.http_get.is_some() || hook.tcp_socket.is_some() {
        return Err(bad_pod(format!(
            "container {container}: {which} can only be exec or sleep here; use exec"
        )));
    }
    Ok(None)
}
