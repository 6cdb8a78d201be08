//! Namespaces of our own: a small disk, and networks that are joined by a pair of interfaces.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tokio::io::AsyncReadExt as _;

use crate::settings::NotRun;

/// A process that keeps a namespace; what is in the namespace goes with it.
#[derive(Debug)]
pub(crate) struct Holder {
    child: tokio::process::Child,
    pid: u32,
    flags: &'static [&'static str],
}

impl Holder {
    /// Runs `script` in new namespaces; fails when the machine does not let us.
    async fn start(unshare: &[&str], flags: &'static [&'static str], script: &str) -> Result<Self, NotRun> {
        let mut command = tokio::process::Command::new("unshare");
        command
            .args(unshare)
            .args(["--", "sh", "-ec"])
            .arg(format!("{script}\necho ready\nexec sleep 86400"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| NotRun(format!("unshare: {error}")))?;
        let pid = child.id().unwrap();
        let (mut said, mut why) = (vec![0; 6], String::new());
        if child.stdout.take().unwrap().read_exact(&mut said).await.is_err() {
            let _ = child.stderr.take().unwrap().read_to_string(&mut why).await;
            return Err(NotRun(format!("unshare {}: {}", unshare.join(" "), why.trim())));
        }
        Ok(Self { child, pid, flags })
    }

    /// A tmpfs of so many KiB at `dir`, seen only from within.
    pub(crate) async fn small_disk(dir: &Path, kib: u64) -> Result<Self, NotRun> {
        let mount = format!("mount -t tmpfs -o size={kib}k,mode=0700 faults {}", dir.display());
        if nix::unistd::geteuid().is_root() {
            Self::start(&["--mount"], &["--mount"], &mount).await
        } else {
            let flags = &["--user", "--preserve-credentials", "--mount"];
            Self::start(&["--map-root-user", "--mount"], flags, &mount).await
        }
    }

    /// A network with nothing but loopback.
    pub(crate) async fn network() -> Result<Self, NotRun> {
        if !nix::unistd::geteuid().is_root() {
            return Err(NotRun("needs root for network namespaces".into()));
        }
        Self::start(&["--net"], &["--net"], "ip link set lo up").await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What stands before a command that is to run within.
    pub(crate) fn enter(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), "--target".to_owned(), self.pid.to_string()];
        words.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        words.push("--".to_owned());
        words
    }

    /// Runs a command within; gives what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, NotRun> {
        let mut line = self.enter();
        line.extend(words.iter().map(|word| (*word).to_owned()));
        let done = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .output();
        let done = done.map_err(|error| NotRun(format!("nsenter: {error}")))?;
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).into_owned())
        } else {
            let why = String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ");
            Err(NotRun(format!("{}: {why}", words.join(" "))))
        }
    }

    /// A file of the namespace, as seen from outside.
    pub(crate) fn path(&self, path: &Path) -> std::path::PathBuf {
        let root = format!("/proc/{}/root", self.pid);
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
    }
}
