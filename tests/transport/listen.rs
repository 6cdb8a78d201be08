//! Where a listener listens, and where it does not.

use towline::transport::Listener;

#[tokio::test]
async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.sock");
    let address = format!("unix://{}", path.display());

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "stale");
    let listener = Listener::bind(&address, None).await.unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = Listener::bind(&address, None).await.unwrap_err().to_string();
    assert!(text.contains("another process"), "{text}");
    drop(listener);
    assert!(!path.exists(), "removed with its listener");

    std::fs::write(&path, "precious").unwrap();
    let text = Listener::bind(&address, None).await.unwrap_err().to_string();
    assert!(text.contains("not a socket"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn bad_listen_addresses_say_what_to_do() {
    for (address, problem) in [
        ("3000", "HOST:PORT"),
        ("http://x:1", "HOST:PORT"),
        ("unix://relative", "from the root"),
        ("unix:///no/dir/x", "directory"),
    ] {
        let text = Listener::bind(address, None).await.unwrap_err().to_string();
        assert!(text.contains(problem) && text.contains(address), "{text}");
    }
    let taken = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let text = Listener::bind(&taken.local_addr(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("in use"), "{text}");
    assert!(taken.is_local());
}
