//! Who follows logs: `kubectl logs -f` by GET /getLogs, and `towline logs -f`.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use tokio::{io::AsyncReadExt as _, time::sleep};

use crate::{
    history::{Kind, Op, Outcome, ReadEnd, What},
    http::open,
    kubelet::{Kubelet, Pod},
    peer::towline,
};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// A log that was once deleted, or whose pod never came, is not asked for longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// Follows as kubectl does, anew from the start when the connection goes, until one reading was whole. Gives whether
/// one was.
pub(crate) async fn kubectl(kubelet: Kubelet, pod: Pod) -> bool {
    let history = kubelet.history.clone();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let call = history.number();
        history.note(What::Begin {
            call,
            op: Op::Logs,
            uid: pod.uid.clone(),
        });
        let path = format!("{}/getLogs", kubelet.scope);
        let opened = open(&kubelet.address(), "GET", &path, &pod.log(true, 0)).await;
        let outcome = match &opened {
            Ok(response) => Outcome::Answered {
                http: response.status().as_u16(),
                text: String::new(),
            },
            Err(why) => Outcome::Broken(why.clone()),
        };
        history.note(What::End { call, outcome });
        match opened {
            Ok(response) if response.status() == 200 => {
                let reader = history.number();
                history.note(What::Reader {
                    reader,
                    uid: pod.uid.clone(),
                    kind: Kind::Kubectl,
                });
                let mut body = response.into_body();
                let end = loop {
                    match body.frame().await {
                        None => break ReadEnd::Whole,
                        Some(Err(error)) => break ReadEnd::Broken(error.to_string()),
                        Some(Ok(frame)) => {
                            let bytes = frame.into_data().unwrap_or_default();
                            let text = String::from_utf8_lossy(&bytes).into_owned();
                            history.note(What::Bytes { reader, text });
                        }
                    }
                };
                let whole = end == ReadEnd::Whole;
                history.note(What::ReaderEnd { reader, end });
                if whole {
                    return true;
                }
            }
            _ => {}
        }
        sleep(AGAIN).await;
    }
    false
}

/// Follows by `towline logs -f`, which must live through everything once it has begun. Gives whether it ended well.
pub(crate) async fn follower(kubelet: Kubelet, pod: Pod) -> bool {
    let history = kubelet.history.clone();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let reader = history.number();
        history.note(What::Reader {
            reader,
            uid: pod.uid.clone(),
            kind: Kind::Towline,
        });
        let mut command = towline(&[]);
        command
            .args(["logs", "-f", &pod.name, "-n", "vk", "--hub"])
            .arg(format!("unix://{}", kubelet.socket.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let talk = tokio::spawn(async move {
            let mut said = String::new();
            let _ = err.read_to_string(&mut said).await;
            said
        });
        let (mut buffer, mut some) = (vec![0; 16 << 10], false);
        while let Ok(read) = out.read(&mut buffer).await
            && read > 0
        {
            some = true;
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            history.note(What::Bytes { reader, text });
        }
        let status = child.wait().await.unwrap();
        let said = talk.await.unwrap();
        let end = if status.success() && !said.contains("missing") {
            ReadEnd::Whole
        } else {
            ReadEnd::Broken(format!("{:?}: {}", status.code(), said.trim()))
        };
        let whole = end == ReadEnd::Whole;
        history.note(What::ReaderEnd { reader, end });
        // A hub that keeps its state knows every pod that was created, until it is deleted. Its plugin may not yet.
        if whole || some || said.contains("no pod") {
            return whole;
        }
        sleep(AGAIN).await;
    }
    false
}
