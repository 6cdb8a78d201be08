//! The virtual kubelet: what it asks, how long it waits, and what it must never be told.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::Instant;
use towline::{
    hub::CallMeta,
    interlink::{Pod, PodCreateRequests, PodStatus},
};

use super::{
    readers,
    rng::Rng,
    trace::{note, violated},
    world::World,
};

/// What the virtual kubelet was told of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Created,
    /// An HTTP error: the pod is Failed for good.
    Refused,
    /// The connection broke: Failed for good too, but nobody promised anything.
    Lost,
}

/// One pod's life as Kubernetes sees it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) pod: Pod,
    pub(crate) told: Cell<Told>,
    /// A delete was answered with success.
    pub(crate) deleted: Cell<bool>,
    pub(crate) delete_asked: Cell<bool>,
    /// The life of the hub that answered the create or delete: one without a state directory forgets what it kept.
    pub(crate) answered_by: Cell<u64>,
    /// Highest version and exit code that were shown.
    pub(crate) seen: Cell<u64>,
    pub(crate) ended: Cell<Option<i32>>,
}

impl Wish {
    pub(crate) fn new(plugin: &str, index: usize, rng: &mut Rng) -> Rc<Self> {
        let (a, b) = (rng.next(), rng.next());
        let uid = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        let pod = serde_json::json!({
            "metadata": {
                "name": format!("pod-{index}"), "namespace": "default", "uid": uid,
                "annotations": {"towline/plugin": plugin},
            },
            "spec": {"containers": [{"name": "main", "image": "image", "command": ["work"]}]},
        });
        Rc::new(Self {
            pod: Pod::from_value(pod).unwrap(),
            told: Cell::new(Told::Nothing),
            deleted: Cell::new(false),
            delete_asked: Cell::new(false),
            answered_by: Cell::new(0),
            seen: Cell::new(0),
            ended: Cell::new(None),
        })
    }

    pub(crate) fn uid(&self) -> &str {
        self.pod.uid()
    }

    pub(crate) fn name(&self) -> &str {
        self.pod.name()
    }
}

fn meta() -> CallMeta {
    CallMeta {
        session: "CreatePod#1".into(),
        traceparent: None,
    }
}

/// Fails the schedule when a call took longer than its limit.
fn in_time(what: &str, wish: &Wish, began: Instant, limit: Duration) {
    let took = began.elapsed();
    if took > limit + Duration::from_secs(1) {
        violated(
            "I3",
            format!("{what} of {} took {took:?}, at most {limit:?}", wish.name()),
        );
    }
}

/// One pod from its create to its delete.
pub(crate) async fn live(world: Rc<World>, wish: Rc<Wish>, mut rng: Rng) {
    world.sleep(rng.millis(0, 60_000)).await;
    let deletes = !rng.one_in(3);
    // Often before the create is through.
    let longest = *rng.pick(&[2_000, 30_000, 120_000]).unwrap_or(&0);
    let delete_after = rng.millis(0, longest);
    let mut rng_deletes = rng.fork();
    let deleter = async {
        if deletes {
            world.sleep(delete_after).await;
            let tries = if rng_deletes.one_in(2) { 1 } else { 20 };
            for _ in 0..tries {
                delete(&world, &wish).await;
                if wish.deleted.get() {
                    break;
                }
                world.sleep(Duration::from_secs(30)).await;
            }
        }
    };
    let creator = async {
        create(&world, &wish).await;
        // A kubelet that was started again asks for the same pod again.
        // Not for one that it was told has failed, of a hub that forgets in a restart what it has had deleted.
        let asks_again = rng.one_in(5) && (world.is_durable() || wish.told.get() != Told::Refused);
        if asks_again && !wish.delete_asked.get() {
            world.sleep(rng.millis(0, 20_000)).await;
            // A pod that was deleted meanwhile is not in its list any more.
            if !wish.delete_asked.get() {
                create(&world, &wish).await;
            }
        }
        if wish.told.get() == Told::Created {
            for _ in 0..rng.between(0, 3) {
                world.spawn(readers::follow(world.clone(), wish.clone(), rng.fork()));
            }
            poll(&world, &wish).await;
        }
    };
    tokio::join!(biased; creator, deleter);
}

async fn create(world: &Rc<World>, wish: &Rc<Wish>) {
    let before = wish.told.get();
    let began = Instant::now();
    let body = PodCreateRequests::new(wish.pod.clone());
    let answer = world.http(async |hub| hub.create(None, body, meta()).await).await;
    let told = match answer {
        None => Told::Lost,
        Some(Ok(created)) => {
            if created.pod_uid != wish.uid() {
                violated(
                    "I3",
                    format!("create of {} answered for {}", wish.name(), created.pod_uid),
                );
            }
            Told::Created
        }
        Some(Err(status)) => {
            note(|| {
                format!(
                    "create of {} refused: {:?} {}",
                    wish.name(),
                    status.kind(),
                    status.reason
                )
            });
            Told::Refused
        }
    };
    in_time("create", wish, began, Duration::from_secs(110));
    note(|| format!("create of {}: {told:?}", wish.name()));
    // A hub that forgot the pod in a restart, and then could not reach its plugin, has said that it failed: so it has it deleted.
    if before == Told::Created
        && told == Told::Refused
        && world.hub_life() != wish.answered_by.get()
        && !world.is_durable()
    {
        wish.delete_asked.set(true);
        wish.told.set(Told::Lost);
    }
    // The first answer is the one that Kubernetes acts on; but after a refusal a second create may come through.
    if before == Told::Nothing || (before == Told::Refused && told != Told::Nothing) {
        wish.answered_by.set(world.hub_life());
        wish.told.set(told);
    }
}

pub(crate) async fn delete(world: &Rc<World>, wish: &Rc<Wish>) {
    wish.delete_asked.set(true);
    let began = Instant::now();
    let pod = wish.pod.clone();
    let answer = world
        .http(async |hub| hub.delete(None, pod, Some(1), meta()).await)
        .await;
    in_time("delete", wish, began, Duration::from_secs(30));
    note(|| {
        let text = answer
            .as_ref()
            .map(|answer| answer.as_ref().map_err(ToString::to_string));
        format!("delete of {}: {text:?}", wish.name())
    });
    if let Some(Ok(())) = answer {
        wish.answered_by.set(world.hub_life());
        wish.deleted.set(true);
    }
}

/// Asks for the status until the pod is over, every five seconds as the virtual kubelet does.
async fn poll(world: &Rc<World>, wish: &Rc<Wish>) {
    while !world.is_over() && !wish.delete_asked.get() {
        look(world, wish).await;
        let pause = if wish.ended.get().is_some() { 60 } else { 5 };
        world.sleep(Duration::from_secs(pause)).await;
    }
}

/// Reads the status once and holds it against everything that was shown before.
pub(crate) async fn look(world: &Rc<World>, wish: &Rc<Wish>) -> Option<PodStatus> {
    let pods = [wish.pod.clone()];
    let answer = world.http(async |hub| hub.status(None, &pods).await).await?;
    let status = answer.ok()?.into_iter().next()?;
    let [container] = status.containers.as_slice() else {
        violated(
            "I1",
            format!(
                "{} is shown with {} containers",
                wish.name(),
                status.containers.len()
            ),
        );
        return Some(status);
    };
    if let Some(terminated) = &container.state.terminated
        && terminated.message.starts_with("lost")
    {
        if world.job(wish).is_some_and(|job| !job.forgotten) && !wish.delete_asked.get() {
            violated(
                "I1",
                format!("{} is reported lost, but its job is there", wish.name()),
            );
        }
        return Some(status);
    }
    let version = version(&container.container_id);
    if version < wish.seen.get() {
        violated(
            "I1",
            format!(
                "{} went back from v{} to v{version}",
                wish.name(),
                wish.seen.get()
            ),
        );
    }
    if version > wish.seen.get() {
        note(|| format!("{} is shown at v{version}", wish.name()));
        wish.seen.set(version);
    }
    if let Some(terminated) = &container.state.terminated {
        wish.ended.set(Some(terminated.exit_code));
    }
    Some(status)
}

/// The version of a job that a shown container carries.
pub(crate) fn version(container_id: &str) -> u64 {
    container_id
        .strip_prefix('v')
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
