//! A run from start to exit record, with real processes: `towline supervise DIR`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use towline::backend::process::{
    run::Run,
    spec::{Exit, LOG_CAP, LOG_SEGMENT, Mount, RunSpec, RunState, Termination},
    supervisor,
};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_towline"))
}

fn shell(script: &str) -> RunSpec {
    RunSpec {
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        env: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("WORD".into(), "from the spec".into()),
        ],
        working_dir: None,
        mounts: Vec::new(),
        grace_seconds: 30,
        post_start: None,
        pre_stop: None,
        no_new_privileges: false,
        termination: None,
        log_cap: LOG_CAP,
        log_segment: LOG_SEGMENT,
        pod_uid: "00000000-0000-4000-8000-000000000000".into(),
        container: "main".into(),
    }
}

/// A pod directory with one container.
struct Pod(tempfile::TempDir);

impl Pod {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run_dir(&self, epoch: u64) -> PathBuf {
        self.path().join(format!("containers/main/{epoch}"))
    }

    async fn start(&self, spec: &RunSpec) -> Run {
        Run::start(&self.run_dir(1), spec, program()).await.unwrap()
    }

    async fn run(&self, spec: &RunSpec) -> Exit {
        ended(&mut self.start(spec).await).await
    }

    fn log(&self) -> Vec<u8> {
        let mut names: Vec<_> = fs::read_dir(self.run_dir(1).join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
        names.sort();
        names.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    fn said(&self) -> String {
        String::from_utf8(self.log()).unwrap()
    }
}

async fn ended(run: &mut Run) -> Exit {
    loop {
        if let RunState::Exited(exit) = run.changed().await {
            return exit;
        }
    }
}

async fn running(run: &mut Run) {
    match run.state() {
        RunState::Running { .. } => {}
        _ => assert!(matches!(run.changed().await, RunState::Running { .. })),
    }
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn alive(pid: &str) -> bool {
    // A zombie has ended; who reaps it may take its time.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_exit_code_and_both_outputs_are_kept() {
    let pod = Pod::new();
    let exit = pod
        .run(&shell("echo out; echo \"$WORD\" >&2; printf partial; exit 7"))
        .await;
    assert_eq!(
        (exit.exit_code, exit.signal, exit.reason.as_str(), exit.started),
        (7, 0, "Error", true)
    );
    assert!(exit.started_at.unwrap() <= exit.finished_at);
    assert_eq!(pod.said(), "out\nfrom the spec\npartial");
    assert_eq!(exit.log_end, pod.log().len() as u64);
    assert_eq!(
        fs::metadata(pod.run_dir(1).join("spec.json"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[tokio::test]
async fn the_environment_is_the_specs_and_nothing_else() {
    let pod = Pod::new();
    let mut spec = shell("");
    spec.argv = vec!["env".into()];
    assert_eq!(pod.run(&spec).await.reason, "Completed");
    let said = pod.said();
    assert!(
        said.lines()
            .all(|line| line.starts_with("PATH=") || line.starts_with("WORD=")),
        "{said}"
    );
}

#[tokio::test]
async fn a_signal_is_told_as_128_and_its_number() {
    let pod = Pod::new();
    let exit = pod.run(&shell("kill -9 $$")).await;
    assert_eq!((exit.exit_code, exit.signal, exit.stopped), (137, 9, false));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    for (argv, dir, word) in [
        (vec!["no-such-command"], None, "not found in PATH"),
        (vec!["/no/such/file"], None, "no such file"),
        (vec!["/etc/passwd"], None, "not executable"),
        (vec!["/bin/true"], Some("/no/such/dir"), "workingDir"),
    ] {
        let pod = Pod::new();
        let mut spec = shell("");
        spec.argv = argv.into_iter().map(str::to_owned).collect();
        spec.working_dir = dir.map(str::to_owned);
        let exit = pod.run(&spec).await;
        assert_eq!(
            (exit.exit_code, exit.reason.as_str(), exit.started),
            (128, "StartError", false),
            "{exit:?}"
        );
        assert!(exit.message.contains(word), "{exit:?}");
    }
}

#[tokio::test]
async fn a_stop_lets_the_command_end_by_itself() {
    let pod = Pod::new();
    let mut spec = shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    spec.pre_stop = Some(vec![
        "/bin/sh".into(),
        "-c".into(),
        format!("echo x > {}/hooked", pod.path().display()),
    ]);
    let mut run = pod.start(&spec).await;
    running(&mut run).await;
    until(|| pod.said().contains("ready")).await;
    run.stop(30).unwrap();
    let exit = ended(&mut run).await;
    assert_eq!((exit.exit_code, exit.stopped), (3, true));
    assert!(pod.said().ends_with("bye\n"));
    assert!(pod.path().join("hooked").exists());
}

#[tokio::test]
async fn sigterm_goes_to_the_command_alone_and_its_children_end_by_themselves() {
    let pod = Pod::new();
    let go = pod.path().join("go");
    // The trap tells, waits for its child and says how it ended: 143 if it had got the signal too.
    let script = format!(
        "(until [ -e {0} ]; do sleep 0.02; done; exit 7) & child=$!; \
         trap 'echo told; wait $child; echo child $?; exit 3' TERM; echo ready; wait",
        go.display()
    );
    let mut run = pod.start(&shell(&script)).await;
    until(|| pod.said().contains("ready")).await;
    run.stop(60).unwrap();
    until(|| pod.said().contains("told")).await;
    fs::write(&go, "").unwrap();
    let exit = ended(&mut run).await;
    assert_eq!((exit.exit_code, exit.stopped), (3, true), "{exit:?}");
    assert_eq!(pod.said(), "ready\ntold\nchild 7\n");
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_when_the_grace_is_over() {
    let pod = Pod::new();
    let mut run = pod
        .start(&shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"))
        .await;
    until(|| pod.said().contains("ready")).await;
    run.stop(1).unwrap();
    let exit = ended(&mut run).await;
    assert_eq!((exit.exit_code, exit.signal), (137, 9));
    assert!(exit.message.contains("grace"), "{exit:?}");
}

#[tokio::test]
async fn a_detached_grandchild_does_not_survive_its_container() {
    let pod = Pod::new();
    let file = pod.path().join("pid");
    let script = format!(
        "(setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' >/dev/null 2>&1 &) ; while [ ! -e {0} ]; do sleep 0.02; done",
        file.display()
    );
    let exit = pod.run(&shell(&script)).await;
    assert_eq!(exit.reason, "Completed");
    assert!(!alive(&fs::read_to_string(file).unwrap()));
}

#[tokio::test]
async fn what_a_container_says_of_its_end_is_told_and_else_the_end_of_its_log() {
    let (asks, or_log) = (Termination::default(), Termination { or_log: true });
    for (script, wants, message) in [
        ("echo noise; echo because > $MESSAGE; exit 3", or_log, "because"),
        ("echo noise; echo last words; exit 3", or_log, "noise\nlast words"),
        ("echo noise; exit 0", or_log, ""),
        ("echo noise; exit 3", asks, ""),
        ("echo done > $MESSAGE", asks, "done"),
    ] {
        let pod = Pod::new();
        let mut spec = shell(script);
        spec.termination = Some(wants);
        let file = pod.run_dir(1).join("termination-log");
        spec.env.push(("MESSAGE".into(), file.display().to_string()));
        assert_eq!(pod.run(&spec).await.message, message, "{script}");
    }
}

#[tokio::test]
async fn a_command_that_may_not_gain_privileges_is_told_so_by_the_kernel() {
    let pod = Pod::new();
    let mut spec = shell("grep NoNewPrivs /proc/self/status");
    spec.no_new_privileges = true;
    pod.run(&spec).await;
    assert_eq!(pod.said().split_whitespace().last(), Some("1"));
}

#[tokio::test]
async fn a_failed_post_start_ends_the_container() {
    let pod = Pod::new();
    let mut spec = shell("sleep 1000");
    spec.post_start = Some(vec!["/bin/sh".into(), "-c".into(), "echo no luck; exit 4".into()]);
    let exit = pod.run(&spec).await;
    assert_eq!(
        (exit.exit_code, exit.reason.as_str()),
        (143, "PostStartHookError")
    );
    assert!(exit.message.contains("exit code 4: no luck"), "{exit:?}");
}

#[tokio::test]
async fn a_run_outlives_its_plugin_and_is_found_again() {
    let pod = Pod::new();
    let go = pod.path().join("go");
    let mut first = pod
        .start(&shell(&format!(
            "while [ ! -e {} ]; do sleep 0.02; done; echo went on; exit 5",
            go.display()
        )))
        .await;
    running(&mut first).await;
    drop(first);
    let mut again = Run::attach(&pod.run_dir(1)).unwrap();
    assert!(matches!(again.state(), RunState::Running { .. }));
    fs::write(go, "").unwrap();
    assert_eq!(ended(&mut again).await.exit_code, 5);
    assert_eq!(pod.said(), "went on\n");
    assert!(
        matches!(Run::attach(&pod.run_dir(1)).unwrap().state(), RunState::Exited(exit) if exit.exit_code == 5)
    );
    assert!(
        Run::start(&pod.run_dir(1), &shell("true"), program())
            .await
            .is_err(),
        "a directory is used once"
    );
}

#[tokio::test]
async fn a_killed_supervisor_takes_the_command_along_and_is_told_as_lost() {
    let pod = Pod::new();
    let pids = pod.path().join("pids");
    let mut run = pod
        .start(&shell(&format!(
            "echo $PPID $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
            pids.display()
        )))
        .await;
    until(|| pids.exists()).await;
    let pids = fs::read_to_string(pids).unwrap();
    let (supervisor, command) = pids.trim().split_once(' ').unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(supervisor.parse().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let exit = ended(&mut run).await;
    assert_eq!((exit.exit_code, exit.reason.as_str()), (137, "ContainerLost"));
    until(|| !alive(command)).await;
}

#[tokio::test]
async fn five_megabytes_arrive_byte_exact_over_many_segments() {
    use sha2::{Digest, Sha256};
    let pod = Pod::new();
    let mut spec = shell(
        "i=0; while [ $i -lt 5 ]; do head -c 1000003 /dev/urandom | tee -a \"$SEEN\"; i=$((i+1)); done",
    );
    spec.env
        .push(("SEEN".into(), pod.path().join("seen").display().to_string()));
    spec.log_segment = 300_000;
    let exit = pod.run(&spec).await;
    let seen = fs::read(pod.path().join("seen")).unwrap();
    assert_eq!((exit.log_end, exit.log_lost), (5 * 1_000_003, 0));
    assert_eq!(Sha256::digest(&seen), Sha256::digest(pod.log()));
}

#[tokio::test]
async fn a_volume_is_seen_at_its_path_by_the_container_alone() {
    if supervisor::probe(program()).mounts.is_err() {
        // Not by eprintln!, whose words of a passing test are kept back.
        let _ = writeln!(
            io::stderr(),
            "NOT TESTED here: a volume at its path, for want of mount namespaces"
        );
        return;
    }
    let pod = Pod::new();
    let volume = pod.path().join("volumes/config");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("key"), "value").unwrap();
    fs::write(pod.path().join("volumes/one"), "single").unwrap();
    let mount = |source: &Path, target: &str, read_only| Mount {
        source: source.to_owned(),
        target: target.into(),
        read_only,
        optional: false,
    };
    let mut spec = shell(
        "cat /towline-test/a/key /usr/towline-test.conf; echo; ls /usr/bin/env; \
         (echo x > /towline-test/a/new) 2>/dev/null && echo written; echo y > /towline-test/b/new; pwd; echo hook > /towline-test/b/main; sleep 1000",
    );
    spec.mounts = vec![
        mount(&volume, "/towline-test/a", true),
        mount(&volume, "/towline-test/b", false),
        mount(&pod.path().join("volumes/one"), "/usr/towline-test.conf", true),
    ];
    spec.working_dir = Some("/towline-test/b".into());
    spec.post_start = Some(vec![
        "/bin/sh".into(),
        "-c".into(),
        "while [ ! -e /towline-test/b/main ]; do sleep 0.02; done; echo x > /towline-test/b/hook".into(),
    ]);
    let mut run = pod.start(&spec).await;
    running(&mut run).await;
    run.kill();
    ended(&mut run).await;
    assert_eq!(pod.said(), "valuesingle\n/usr/bin/env\n/towline-test/b\n");
    assert!(volume.join("new").exists() && volume.join("hook").exists());
    assert!(!Path::new("/towline-test").exists() && !Path::new("/usr/towline-test.conf").exists());
}

#[tokio::test]
async fn a_missing_volume_says_so() {
    let pod = Pod::new();
    let mut spec = shell("true");
    spec.mounts = vec![Mount {
        source: "/no/such/volume".into(),
        target: "/towline-test".into(),
        read_only: false,
        optional: false,
    }];
    let exit = pod.run(&spec).await;
    assert_eq!((exit.exit_code, exit.reason.as_str()), (128, "StartError"));
    assert!(exit.message.contains("/no/such/volume"), "{exit:?}");
}
