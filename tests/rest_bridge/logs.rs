//! Logs: byte-exact, followed where the plugin cannot, gone on with over cuts and restarts.

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use serde_json::json;

use crate::{
    kubelet::{PATIENCE, uid},
    site::{Site, config, site_with},
    upstream::{Quirks, Upstream},
};

/// A followed log, read piece by piece.
pub(crate) struct Follower {
    body: Incoming,
    left: Bytes,
}

impl Follower {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        Self {
            body: response.into_body(),
            left: Bytes::new(),
        }
    }

    /// The next so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < count {
            if self.left.is_empty() {
                let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
                let frame = frame.unwrap_or_else(|_| panic!("only {} of {count} bytes", taken.len()));
                self.left = frame.expect("it goes on").unwrap().into_data().unwrap();
                continue;
            }
            let most = (count - taken.len()).min(self.left.len());
            taken.extend_from_slice(&self.left[..most]);
            self.left.advance(most);
        }
        taken
    }

    /// All that still comes, up to the good end.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut rest = self.left.to_vec();
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame.expect("the log ends") {
                Some(frame) => rest.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                None => return rest,
            }
        }
    }
}

/// Bytes that are like no others nearby, lines and zeros among them.
fn bytes(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .map(|n| ((n * n) ^ (n >> 3) ^ (n >> 11)) as u8)
        .collect()
}

async fn site(quirks: Quirks) -> (Upstream, Site, tempfile::TempDir) {
    let upstream = Upstream::start(quirks).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&upstream.address, dir.path());
    config.follow = upstream.plugin.follows();
    let site = Site::start(config).await;
    site.create(&uid(1)).await;
    upstream.plugin.state(&uid(1), Some(json!({"running": {}})));
    site.until_state(&uid(1), "running").await;
    (upstream, site, dir)
}

fn end(upstream: &Upstream) {
    upstream
        .plugin
        .state(&uid(1), Some(json!({"terminated": {"exitCode": 0}})));
}

#[tokio::test]
async fn a_log_is_read_byte_for_byte() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    let whole = bytes(0, 300_000);
    upstream.plugin.log(&uid(1), |log| log.clone_from(&whole));
    let (code, read) = site.log(&uid(1), json!({})).await;
    assert_eq!(code, 200);
    assert!(read == whole);
    let call = &upstream.plugin.calls("GET /getLogs")[0].body;
    assert_eq!(call["ContainerName"], "main");
    assert_eq!(call["Opts"]["SinceTime"], "0001-01-01T00:00:00Z");
    assert_eq!(call["Opts"]["Follow"], false);
}

#[tokio::test]
async fn tail_and_limit_hold_whether_the_plugin_has_them_or_not() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"one\ntwo\nthree\nfo"));
    for (options, expected) in [
        (json!({"Tail": 1}), &b"fo"[..]),
        (json!({"Tail": 2}), b"three\nfo"),
        (json!({"Tail": 100}), b"one\ntwo\nthree\nfo"),
        (json!({"Bytes": 5}), b"one\nt"),
        (json!({"Bytes": 500}), b"one\ntwo\nthree\nfo"),
    ] {
        let (code, read) = site.log(&uid(1), options.clone()).await;
        assert_eq!((code, &read[..]), (200, expected), "{options}");
    }
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"ur\n"));
    assert_eq!(site.log(&uid(1), json!({"Tail": 1})).await.1, b"four\n");
}

#[tokio::test]
async fn what_only_the_plugin_can_do_is_asked_of_it() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"x\n"));
    let options = json!({"Timestamps": true, "Previous": true, "SinceTime": "2026-09-01T10:00:00Z"});
    assert_eq!(site.log(&uid(1), options).await.1, b"x\n");
    let asked = &upstream.plugin.calls("GET /getLogs")[0].body["Opts"];
    assert_eq!(asked["Timestamps"], true);
    assert_eq!(asked["Previous"], true);
    assert_eq!(asked["SinceTime"], "2026-09-01T10:00:00Z");
}

#[tokio::test]
async fn a_log_is_followed_without_the_plugins_help_to_its_end() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    let whole = bytes(0, 100_000);
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(&whole[..10]));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    let mut read = follower.take(10).await;
    for part in whole[10..].chunks(40_000) {
        upstream.plugin.log(&uid(1), |log| log.extend_from_slice(part));
        read.extend(follower.take(part.len()).await);
    }
    assert!(read == whole);
    end(&upstream);
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"last words"));
    assert_eq!(follower.rest().await, b"last words");
}

#[tokio::test]
async fn a_followed_tail_begins_where_it_was_asked_to() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"one\ntwo\n"));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true, "Tail": 1})).await);
    assert_eq!(follower.take(4).await, b"two\n");
    site.cut();
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"three\n"));
    end(&upstream);
    assert_eq!(follower.rest().await, b"three\n");
}

#[tokio::test]
async fn a_followed_log_is_byte_exact_while_the_link_is_cut() {
    for follows in [false, true] {
        let (upstream, site, _dir) = site(Quirks {
            follows,
            ..Quirks::default()
        })
        .await;
        let whole = bytes(0, 400_000);
        upstream
            .plugin
            .log(&uid(1), |log| log.extend_from_slice(&whole[..100_000]));
        let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
        let mut read = follower.take(50_000).await;
        for part in whole[100_000..].chunks(100_000) {
            site.cut();
            upstream.plugin.log(&uid(1), |log| log.extend_from_slice(part));
            read.extend(follower.take(part.len()).await);
        }
        end(&upstream);
        upstream.plugin.log(&uid(1), |_| {});
        read.extend(follower.rest().await);
        assert!(read == whole, "follows: {follows}");
    }
}

#[tokio::test]
async fn a_followed_log_goes_on_over_a_restart_of_the_bridge() {
    let (upstream, mut site, dir) = site(Quirks::default()).await;
    let whole = bytes(0, 60_000);
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(&whole[..30_000]));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    let mut read = follower.take(20_000).await;
    site.stop_bridge().await;
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(&whole[30_000..]));
    site.start_bridge(config(&upstream.address, dir.path())).await;
    read.extend(follower.take(40_000).await);
    assert!(read == whole);
    end(&upstream);
    assert_eq!(follower.rest().await, b"");
}

#[tokio::test]
async fn a_followed_log_goes_on_over_a_restart_of_the_plugin() {
    for follows in [false, true] {
        let (upstream, site, _dir) = site(Quirks {
            follows,
            ..Quirks::default()
        })
        .await;
        upstream
            .plugin
            .log(&uid(1), |log| log.extend_from_slice(b"before "));
        let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
        assert_eq!(follower.take(7).await, b"before ");
        let upstream = Upstream::again(upstream.kill().await).await;
        upstream
            .plugin
            .log(&uid(1), |log| log.extend_from_slice(b"after"));
        assert_eq!(follower.take(5).await, b"after", "follows: {follows}");
        end(&upstream);
        upstream.plugin.log(&uid(1), |_| {});
        assert_eq!(follower.rest().await, b"");
    }
}

/// The hub's own API shows gaps; interLink's REST has no place for them but the bytes.
#[tokio::test]
async fn a_log_that_was_replaced_begins_anew_and_is_marked() {
    for (first, second) in [(&b"aaaa"[..], &b"bbbbbbbb"[..]), (b"a longer one", b"short")] {
        let (upstream, site, _dir) = site(Quirks::default()).await;
        upstream.plugin.log(&uid(1), |log| log.extend_from_slice(first));
        let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
        assert_eq!(follower.take(first.len()).await, first);
        let lost = site.hub.metrics_text();
        assert!(lost.contains("towline_log_gap_bytes_total 0"), "{lost}");
        upstream.plugin.log(&uid(1), |log| second.clone_into(log));
        end(&upstream);
        assert!(follower.rest().await.ends_with(second), "from its begin");
        let told = site.hub.metrics_text();
        assert!(!told.contains("towline_log_gap_bytes_total 0"), "a gap is told");
    }
}

/// slurm's plugin answers with the output of the batch script before that of the container, and the script says more when
/// its containers have ended.
#[tokio::test]
async fn who_follows_a_log_that_grows_in_front_goes_on_and_who_comes_gets_all_of_it() {
    let (script, lines) = (b"script: running main\n", bytes(0, 50_000));
    for cut in [false, true] {
        let (upstream, site, _dir) = site(Quirks::default()).await;
        upstream.plugin.log(&uid(1), |log| {
            log.extend_from_slice(script);
            log.extend_from_slice(&lines[..20_000]);
        });
        let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
        let mut read = follower.take(script.len() + 20_000).await;
        let mut said = script.to_vec();
        for (n, part) in lines[20_000..].chunks(10_000).enumerate() {
            if cut {
                site.cut();
            }
            let before = said.len();
            said.extend_from_slice(format!("script: step {n}\n").as_bytes());
            upstream.plugin.log(&uid(1), |log| {
                log.splice(..before, said.iter().copied());
                log.extend_from_slice(part);
            });
            read.extend(follower.take(part.len()).await);
        }
        end(&upstream);
        assert_eq!(follower.rest().await, b"");
        assert!(read == [&script[..], &lines].concat(), "cut: {cut}");
        let told = site.hub.metrics_text();
        assert!(told.contains("towline_log_gap_bytes_total 0"), "{told}");
        let (_, whole) = site.log(&uid(1), json!({})).await;
        assert!(whole == [&said[..], &lines].concat(), "cut: {cut}");
    }
}

#[tokio::test]
async fn a_log_that_was_replaced_during_a_cut_begins_anew_and_is_marked() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"aaaa"));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    assert_eq!(follower.take(4).await, b"aaaa");
    site.cut();
    upstream
        .plugin
        .log(&uid(1), |log| b"bbbbbbbb".as_slice().clone_into(log));
    end(&upstream);
    assert!(follower.rest().await.ends_with(b"bbbbbbbb"));
    assert!(!site.hub.metrics_text().contains("towline_log_gap_bytes_total 0"));
}

#[tokio::test]
async fn a_log_that_has_not_begun_is_waited_for() {
    let (upstream, _dir, site) = site_with(Quirks::default()).await;
    site.create(&uid(1)).await;
    site.until_state(&uid(1), "waiting").await;
    let follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    assert_eq!(site.log(&uid(1), json!({})).await, (200, Vec::new()));
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"here"));
    end(&upstream);
    assert_eq!(follower.rest().await, b"here");
}

#[tokio::test]
async fn a_refused_log_is_told_in_the_plugins_words() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    for (code, body, expected) in [
        (404, "no such file", 404),
        (500, r#"{"detail": "squeue: error"}"#, 502),
    ] {
        upstream
            .plugin
            .change(|quirks| quirks.refuse_logs = Some((code, body)));
        let (code, text) = site.log(&uid(1), json!({"Follow": true})).await;
        assert_eq!(code, expected);
        let words = if expected == 404 {
            "no such file"
        } else {
            "squeue: error"
        };
        assert_eq!(String::from_utf8(text).unwrap().trim_end(), words);
    }
}

#[tokio::test]
async fn the_plugin_is_not_read_any_more_when_the_reader_has_gone() {
    let (upstream, site, _dir) = site(Quirks {
        follows: true,
        ..Quirks::default()
    })
    .await;
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"x"));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    assert_eq!(follower.take(1).await, b"x");
    assert_eq!(upstream.plugin.streams(), 1);
    drop(follower);
    site.until("the stream is closed", || upstream.plugin.streams() == 0)
        .await;
}

#[tokio::test]
async fn the_log_of_a_former_run_ends_though_it_is_followed() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream
        .plugin
        .log(&uid(1), |log| log.extend_from_slice(b"former"));
    let options = json!({"Follow": true, "Previous": true});
    assert_eq!(site.log(&uid(1), options).await, (200, b"former".to_vec()));
}

#[tokio::test]
async fn a_log_that_went_with_its_pod_is_cut_off_and_not_told_as_whole() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    upstream.plugin.log(&uid(1), |log| log.extend_from_slice(b"one"));
    let mut follower = Follower::new(site.logs(&uid(1), json!({"Follow": true})).await);
    assert_eq!(follower.take(3).await, b"one");
    upstream
        .plugin
        .change(|quirks| quirks.refuse_logs = Some((404, "no such pod")));
    assert_eq!(site.delete(&uid(1)).await.0, 200);
    let frame = tokio::time::timeout(PATIENCE, follower.body.frame()).await;
    assert!(frame.unwrap().unwrap().is_err(), "without the last chunk");
}

#[tokio::test]
async fn a_plain_log_goes_on_over_a_cut_too() {
    let (upstream, site, _dir) = site(Quirks::default()).await;
    let whole = bytes(0, 3_000_000);
    upstream.plugin.log(&uid(1), |log| log.clone_from(&whole));
    let mut follower = Follower::new(site.logs(&uid(1), json!({})).await);
    let mut read = follower.take(100_000).await;
    site.cut();
    read.extend(follower.rest().await);
    assert!(read == whole);
}
