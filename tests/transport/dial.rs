//! What a dialling peer is told when there is no link.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline::transport::{ConnectError, DialError, Endpoint, Listener, TlsConfig, accept_key, dial};

use crate::ends::{dialled, header, read_head};

/// Dials a server that answers with these bytes and then ends or stays.
async fn answered(answer: &'static str, stays: bool) -> DialError {
    let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let to = dialled(format!("ws://{}/ws", listener.local_addr()));
    let server = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await;
        read_head(&mut io).await;
        for piece in answer.split_inclusive("\r\n\r\n") {
            io.write_all(piece.as_bytes()).await.unwrap();
            io.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        if stays {
            let mut rest = Vec::new();
            let _until_the_peer_ends = io.read_to_end(&mut rest).await;
        }
    });
    let error = dial(&to).await.unwrap_err();
    server.await.unwrap();
    error
}

#[tokio::test]
async fn a_refused_upgrade_carries_status_retry_after_and_the_words_of_the_hub() {
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nwrong token!\n";
    let DialError::Refused { status, body, .. } = answered(unauthorized, true).await else {
        panic!()
    };
    assert_eq!((status, body.as_str()), (401, "wrong token!"));

    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n";
    let error = answered(busy, true).await;
    let text = error.to_string();
    let DialError::Refused {
        status,
        retry_after,
        body,
        ..
    } = error
    else {
        panic!()
    };
    assert_eq!(
        (status, retry_after, body.as_str()),
        (503, Some(Duration::from_secs(7)), "full")
    );
    assert!(
        text.contains("503") && text.contains("full") && text.contains("/ws"),
        "{text}"
    );

    let forbidden = "HTTP/1.1 403 Forbidden\r\n\r\n\x1b[31mOrigin\r\nnot allowed";
    let DialError::Refused { body, .. } = answered(forbidden, false).await else {
        panic!()
    };
    assert_eq!(body, "[31mOrigin  not allowed");
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_says_what_is_wrong() {
    for (answer, problem) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        ("", "without an answer"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "lacks Upgrade"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
    ] {
        let error = answered(answer, false).await;
        assert!(matches!(error, DialError::NotWebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_hub_that_takes_another_subprotocol_or_none_is_refused() {
    for (chosen, problem) in [
        ("Sec-WebSocket-Protocol: other\r\n", "different versions"),
        ("", "did not take"),
    ] {
        let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let mut to = dialled(format!("ws://{}", listener.local_addr()));
        to.bearer = Some("t0ken".to_owned());
        let (head, result) = tokio::join!(
            async {
                let (mut io, _) = listener.accept().await;
                let head = read_head(&mut io).await;
                let key = accept_key(header(&head, "sec-websocket-key"));
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                     Sec-WebSocket-Accept: {key}\r\n{chosen}\r\n"
                );
                io.write_all(answer.as_bytes()).await.unwrap();
                head
            },
            dial(&to)
        );
        assert_eq!(header(&head, "authorization"), "Bearer t0ken");
        assert!(head.starts_with("GET /ws HTTP/1.1\r\n"));
        let text = result.unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn connect_errors_say_where() {
    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let address = listener.local_addr();
    drop(listener);
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let error = endpoint
        .connect(&TlsConfig::default(), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Connect { address: at, .. } if *at == address),
        "{error}"
    );

    let endpoint = Endpoint::parse("unix:///no/such.sock").unwrap();
    let text = endpoint
        .connect(&TlsConfig::default(), Duration::from_secs(5))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("/no/such.sock"), "{text}");
}

#[tokio::test]
async fn a_hub_that_never_answers_the_upgrade_times_out() {
    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let mut to = dialled(format!("ws://{}/ws", listener.local_addr()));
    to.timeout = Duration::from_millis(50);
    assert!(matches!(dial(&to).await, Err(DialError::Timeout { .. })));
}
