//! A client of grpcio with the stubs that protoc makes of `proto/`: the contract's service is what it says.
//!
//! Needs a Python with `examples/stubs/python/requirements.txt` installed: `make test` installs one, TOWLINE_PYTHON names
//! another. Without one the test does nothing and says so.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use towline::{
    http::{HttpConfig, Token},
    transport::Listener,
};

use crate::served::{PATIENCE, Served, creates};

fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TOWLINE_PYTHON").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
    named.or_else(|| installed.is_file().then_some(installed))
}

struct Stock {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stock {
    fn start(python: &Path, stubs: &Path, hub: &str, token: &str) -> Self {
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/grpc_plugin.py"))
            .args([hub, token])
            .env("PYTHONPATH", stubs)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    async fn says(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time")
            .unwrap()
            .expect("a line before its end")
    }
}

#[tokio::test]
async fn a_stock_client_runs_pods_reads_why_it_is_refused_and_how_the_link_ended() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with the stub's packages; `make test` installs one");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let generate = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stubs/python/generate.sh");
    let made = Command::new(generate)
        .arg(&python)
        .arg(dir.path())
        .status()
        .await
        .unwrap();
    assert!(
        made.success(),
        "are the requirements installed in {}?",
        python.display()
    );

    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let address = listener.local_addr();
    let config = HttpConfig {
        token: Some(Token::new("s3cret").unwrap()),
        ..HttpConfig::default()
    };
    let served = Served::on(listener, format!("grpc://{address}"), config, 10);

    let mut wrong = Stock::start(&python, dir.path(), &address, "other");
    assert_eq!(wrong.says().await, "end PERMISSION_DENIED wrong token");

    let mut stock = Stock::start(&python, dir.path(), &address, "s3cret");
    assert_eq!(stock.says().await, "welcome");
    creates(&served, "stock").await;
    served.hub.drain(Duration::from_secs(5)).await;
    let said = stock.says().await;
    assert!(said.starts_with("go_away 4000 "), "{said}");
    let end = stock.says().await;
    assert!(end.starts_with("end UNAVAILABLE 4000 (draining): "), "{end}");
    let exit = timeout(PATIENCE, stock.process.wait()).await.unwrap().unwrap();
    assert!(exit.success());
}
