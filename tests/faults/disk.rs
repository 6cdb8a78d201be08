//! Rows: the state directory is on a small tmpfs that becomes full, and is emptied again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    check::Rules,
    cluster::{Cluster, Options},
    history::Role,
    kubelet::{Kubelet, Pod},
    load::{ended, finish, note_pod},
    namespace::Holder,
    settings::{NotRun, row},
};

#[test]
fn full_disk_of_the_plugin() {
    row("full disk of the plugin", async |_| full(Role::Plugin).await);
}

#[test]
fn full_disk_of_the_hub() {
    row("full disk of the hub", async |_| full(Role::Hub).await);
}

/// The disk, and the file that fills it.
struct Disk {
    holder: Holder,
    fill: PathBuf,
}

impl Disk {
    fn fill(&self) {
        let mut file = File::create(&self.fill).unwrap();
        // Down to the last byte.
        for piece in [64 << 10, 512, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(&self.fill).unwrap();
    }
}

async fn full(role: Role) -> Result<Vec<String>, NotRun> {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let holder = Holder::small_disk(&small, 16 << 10).await?;
    let disk = Disk {
        fill: holder.path(&small.join("fill")),
        holder,
    };
    let mut options = Options::default();
    match role {
        Role::Hub => {
            options.around_hub = disk.holder.enter();
            options.hub_state = Some(small.join("hub"));
        }
        Role::Plugin => {
            options.around_plugin = disk.holder.enter();
            options.plugin_state = Some(small.join("plugin"));
        }
    }
    let mut cluster = Cluster::with(dir, options).await;
    let kubelet = cluster.kubelet();
    // One that ends before, one that ends while the disk is full, one that runs all the time and is silent.
    let (before, during, over) = (
        Pod::new(1, Some(3), 10, 5),
        Pod::new(2, Some(1), 3_000, 6),
        Pod::new(3, Some(1), 6_000, 7),
    );
    for pod in [&before, &during, &over] {
        note_pod(&kubelet, pod);
        assert_eq!(kubelet.create(pod).await, 200);
    }
    ended(&kubelet, &before).await;
    for pod in [&during, &over] {
        while !kubelet.ran().join(&pod.uid).exists() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    cluster.history.fault("full");
    disk.fill();
    // The hub waits with a create for a plugin that is not ready.
    let waiting = Pod::new(4, Some(3), 10, 9);
    let asked = async {
        if role == Role::Plugin {
            note_pod(&kubelet, &waiting);
            assert_eq!(kubelet.create(&waiting).await, 200);
            ended(&kubelet, &waiting).await;
        }
    };
    let emptied = async {
        let said = match role {
            Role::Hub => refused(&cluster, &kubelet).await,
            Role::Plugin => not_ready(&kubelet).await,
        };
        // One pod ends in this time.
        sleep(Duration::from_secs(4)).await;
        cluster.history.fault("empty");
        disk.empty();
        (said, Instant::now())
    };
    let ((said, since), ()) = tokio::join!(emptied, asked);
    // As soon as it can be written again, a create is taken.
    let mut next = 100;
    let last = loop {
        let pod = Pod::new(next, Some(3), 10, 8);
        note_pod(&kubelet, &pod);
        if kubelet.create(&pod).await == 200 {
            break pod;
        }
        next += 1;
        sleep(Duration::from_millis(500)).await;
    };
    let took = since.elapsed().as_secs_f64();
    for pod in [&during, &over, &last] {
        ended(&kubelet, pod).await;
    }
    let rules = Rules {
        refusals: true,
        ..Rules::default()
    };
    let mut figures = finish(&mut cluster, &kubelet, rules).await;
    figures.push(format!("said: {said}"));
    figures.push(format!("creates were taken {took:.1} s after there was space"));
    Ok(figures)
}

/// Creates until one is refused: what is in memory or in blocks that are there may still be taken.
async fn refused(cluster: &Cluster, kubelet: &Kubelet) -> String {
    for number in 10.. {
        let pod = Pod::new(number, Some(2), 10, 1);
        note_pod(kubelet, &pod);
        if kubelet.create(&pod).await != 200 {
            break;
        }
        ended(kubelet, &pod).await;
    }
    let entries = cluster.history.entries().into_iter().rev();
    let mut texts = entries.filter_map(|entry| match entry.what {
        crate::history::What::End {
            outcome: crate::history::Outcome::Answered { http, text },
            ..
        } if http != 200 => Some(format!("{http} {}", text.trim())),
        _ => None,
    });
    texts.next().unwrap()
}

/// Until the hub shows that the plugin takes no pod, and why.
async fn not_ready(kubelet: &Kubelet) -> String {
    loop {
        let plugins = kubelet.look("/api/v1/plugins").await.unwrap();
        let plugins: serde_json::Value = serde_json::from_str(&plugins).unwrap();
        let plugin = &plugins["items"][0];
        if plugin["ready"] == false {
            let reason = plugin["reason"].as_str().unwrap().to_owned();
            assert!(reason.contains("No space left on device"), "{reason}");
            return reason;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
