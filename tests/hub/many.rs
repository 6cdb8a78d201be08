//! A thousand creates at once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::sleep;
use towline::{
    code::{Code, reason},
    hub::{Hub, HubConfig, MemoryFile, StateDir},
    limits,
    wire::{ContainerRunning, PodRef, container_state::State},
};

use crate::fake::{Asked, Creating, Site, connect, create_at, hub, metric, pod_of, uid};
use crate::fakes::say::state;

const MANY: usize = 1_000;

fn creates(hub: &Arc<Hub>) -> Vec<Creating> {
    (0..MANY)
        .map(|n| create_at(hub, Some("p"), pod_of(&uid(n), "")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_creates_at_once_are_a_thousand_calls() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = creates(&hub);
    let plugin = tokio::spawn(async move {
        let mut seen = HashSet::new();
        for _ in 0..MANY {
            let asked = link.next().await;
            assert!(seen.insert(asked.uid()));
            asked.created("job");
        }
        link
    });
    for one in creating {
        one.await.unwrap().unwrap();
    }
    let mut link = plugin.await.unwrap();
    assert!(link.asked.try_recv().is_err());
    assert_eq!(hub.pods().len(), MANY);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_creates_of_two_seconds_each_all_end_well_over_a_cut() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = creates(&hub);
    // As many at once as the hub sends, each once: what a cut left without an answer comes again with the same key.
    let answer = |asked: Asked| {
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            asked.existed("job");
        })
    };
    for _ in 0..300 {
        answer(link.next().await);
    }
    link.cut().await;
    let mut link = connect(&hub, &site).await;
    let plugin = tokio::spawn(async move {
        while let Some(asked) = link.asked.recv().await {
            assert!(asked.is_create());
            answer(asked);
        }
    });
    for one in creating {
        one.await.unwrap().unwrap();
    }
    plugin.abort();
    assert_eq!(hub.pods().len(), MANY);
    assert_eq!(metric(&hub, "towline_deletes_pending"), "0");
}

#[tokio::test(start_paused = true)]
async fn creates_beyond_the_budget_of_a_slow_plugin_fail_and_are_deleted_first() {
    let (hub, site) = (hub(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    let creating = creates(&hub);
    // One at a time, two seconds each.
    let plugin = tokio::spawn(async move {
        let (mut ran, mut deleted) = (HashSet::new(), HashSet::new());
        while let Ok(Some(asked)) = tokio::time::timeout(Duration::from_secs(600), link.asked.recv()).await {
            if asked.is_create() {
                sleep(Duration::from_secs(2)).await;
                assert!(ran.insert(asked.uid()), "created twice");
                asked.created("job");
            } else {
                deleted.insert(asked.uid());
                asked.deleted();
            }
        }
        (ran, deleted)
    });
    let mut failed = HashSet::new();
    for (n, one) in creating.into_iter().enumerate() {
        let Err(status) = one.await.unwrap() else { continue };
        match status.kind() {
            // Never sent.
            Code::Unavailable => assert!(status.message.starts_with("plugin p "), "{}", status.message),
            // Sent, and the outcome is unknown.
            code => assert_eq!(code, Code::DeadlineExceeded, "{}", status.message),
        }
        // On the delete list before the answer: it is not created any more.
        let again = create_at(&hub, Some("p"), pod_of(&uid(n), "")).await.unwrap();
        assert_eq!(again.unwrap_err().reason, reason::DELETED);
        failed.insert(uid(n));
    }
    let (ran, deleted) = plugin.await.unwrap();
    assert!(ran.len() > 50, "{} ran", ran.len());
    assert_eq!(
        failed, deleted,
        "what was reported as failed is deleted, and nothing else"
    );
    assert_eq!(metric(&hub, "towline_deletes_pending"), "0");
    let kept: HashSet<String> = hub.pods().into_iter().map(|pod| pod.uid).collect();
    assert!(kept.is_disjoint(&failed) && kept.len() == MANY - failed.len());
}

#[tokio::test(start_paused = true)]
async fn with_a_state_directory_a_slow_plugin_fails_no_create_however_long_they_take() {
    let config = HubConfig {
        state_dir: StateDir::Memory(MemoryFile::default()),
        ..HubConfig::default()
    };
    let (hub, site) = (Hub::new(config).unwrap(), Arc::new(Site::default()));
    let mut link = connect(&hub, &site).await;
    // Ten minutes of work, where a caller waits for less than two.
    const PODS: usize = 300;
    let creating: Vec<Creating> = (0..PODS)
        .map(|n| create_at(&hub, Some("p"), pod_of(&uid(n), "")))
        .collect();
    // One at a time, two seconds each; a pod that it has is answered at once.
    let plugin = tokio::spawn(async move {
        let mut ran = HashSet::new();
        while ran.len() < PODS {
            let asked = link.asked.recv().await.unwrap();
            assert!(asked.is_create(), "nothing is given up");
            if ran.insert(asked.uid()) {
                sleep(Duration::from_secs(2)).await;
                let pod = PodRef::new(asked.uid(), "default", "demo");
                let running = state(pod, 0, State::Running(ContainerRunning::default()));
                site.pods.lock().unwrap().insert(asked.uid(), running);
                asked.created("job");
            } else {
                asked.existed("job");
            }
        }
        // Answers to what was asked twice.
        while let Ok(Some(asked)) = tokio::time::timeout(Duration::from_secs(300), link.asked.recv()).await {
            assert!(ran.contains(&asked.uid()));
            asked.existed("job");
        }
    });
    let began = tokio::time::Instant::now();
    for one in creating {
        one.await.unwrap().unwrap();
    }
    assert!(began.elapsed() <= limits::CREATE_TIMEOUT + Duration::from_secs(1));
    plugin.await.unwrap();
    let pods = hub.pods();
    assert_eq!(pods.len(), PODS);
    let wrong: Vec<_> = pods
        .iter()
        .filter(|pod| pod.job_id.is_empty() || pod.phase == "Failed")
        .map(|pod| (&pod.phase, &pod.job_id, &pod.reason))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong, such as {:?}",
        wrong.len(),
        wrong.first()
    );
    assert_eq!(metric(&hub, "towline_deletes_pending"), "0");
}
