//! What a plugin that dials over gRPC is told when there is no link.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use towline::{
    code::Code,
    http::HttpConfig,
    transport::{ConnectError, Dial, DialError, Listener, TlsConfig, dial, dial_link},
};

use crate::{
    certificates::{Certificates, port_of},
    served::Served,
};

async fn refused(url: String, tls: TlsConfig) -> DialError {
    let mut to = Dial::new(url, "towline.v1.proto");
    to.tls = tls;
    dial_link(&to).await.unwrap_err()
}

/// Dials somebody who answers with these bytes, whatever comes, and then ends.
async fn answered(answer: &'static [u8]) -> DialError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let _preface = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        let _until_the_peer_ends = stream.read_to_end(&mut asked).await;
    };
    let (error, ()) = tokio::join!(refused(url, TlsConfig::default()), server);
    error
}

#[tokio::test]
async fn who_answers_there_is_named() {
    for (answer, problem) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nsorry\n"[..],
            "400 Bad Request sorry",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "--grpc-listen"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "use grpcs://"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/2"),
        (b"", "without an answer"),
    ] {
        let error = answered(answer).await;
        assert!(matches!(error, DialError::NotGrpc { .. }), "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

/// Dials a server of HTTP/2 that answers the call with this.
async fn answered_with(answer: hyper::Response<()>) -> DialError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut calls = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = calls.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data(Bytes::new(), true).unwrap();
        while calls.accept().await.is_some() {}
    });
    let error = refused(url, TlsConfig::default()).await;
    server.abort();
    error
}

#[tokio::test]
async fn an_answer_that_is_no_link_says_what_it_is() {
    let grpc = || hyper::Response::builder().header("content-type", "application/grpc");
    let unknown = grpc()
        .header("grpc-status", "12")
        .header("grpc-message", "unknown service");
    let error = answered_with(unknown.body(()).unwrap()).await;
    let code = Code::Unimplemented;
    assert!(
        matches!(&error, DialError::RefusedCall { code: said, .. } if *said == code),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("no towline link at this port"),
        "{error}"
    );

    let busy = hyper::Response::builder().status(503).header("retry-after", "7");
    let error = answered_with(busy.body(()).unwrap()).await;
    let after = Some(Duration::from_secs(7));
    assert!(
        matches!(&error, DialError::Refused { status: 503, retry_after, .. } if *retry_after == after),
        "{error:?}"
    );

    let page = hyper::Response::builder().header("content-type", "text/html");
    let error = answered_with(page.body(()).unwrap()).await;
    assert!(error.to_string().contains("no answer of gRPC"), "{error}");
}

#[tokio::test]
async fn tls_and_its_absence_are_told_by_the_scheme_to_use() {
    let certificates = Certificates::good();
    let tls = certificates.trusting("ca.pem");
    let encrypted = certificates.grpc_listener().await;
    let port = port_of(&encrypted);
    let _encrypted = Served::on(encrypted, String::new(), HttpConfig::default(), 10);
    let text = refused(format!("grpc://localhost:{port}"), tls.clone())
        .await
        .to_string();
    assert!(
        text.contains("speaks TLS only") && text.contains("grpcs://"),
        "{text}"
    );
    let text = refused(
        format!("grpcs://localhost:{port}"),
        certificates.trusting("other.pem"),
    )
    .await
    .to_string();
    assert!(text.contains("--ca-file"), "{text}");
    // A plugin that dials it for a WebSocket is told what it is.
    let mut to = Dial::new(format!("wss://localhost:{port}/ws"), "towline.v1.proto");
    to.tls = tls.clone();
    let error = dial(&to).await.unwrap_err();
    assert!(
        matches!(error, DialError::Refused { status: 505, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("grpc://"), "{error}");

    let plain = Served::plain().await;
    let port = plain.url.rsplit_once(':').unwrap().1.to_owned();
    let text = refused(format!("grpcs://localhost:{port}"), tls.clone())
        .await
        .to_string();
    assert!(text.contains("is this a TLS port?"), "{text}");

    // The port for /ws does not speak HTTP/2.
    let mut listener = certificates.listener().await;
    let port = port_of(&listener);
    tokio::spawn(async move {
        loop {
            listener.accept().await;
        }
    });
    let text = refused(format!("grpcs://localhost:{port}"), tls)
        .await
        .to_string();
    assert!(
        text.contains("--grpc-listen") && text.contains("wss://"),
        "{text}"
    );
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_told_apart() {
    let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let address = listener.local_addr();
    let mut to = Dial::new(format!("grpc://{address}"), "towline.v1.proto");
    to.timeout = Duration::from_millis(100);
    assert!(matches!(dial_link(&to).await, Err(DialError::Timeout { .. })));
    drop(listener);
    to.timeout = Duration::from_secs(10);
    assert!(matches!(
        dial_link(&to).await,
        Err(DialError::Connect(ConnectError::Connect { .. }))
    ));
    // What dials a WebSocket takes no gRPC address.
    let text = dial(&to).await.unwrap_err().to_string();
    assert!(text.contains("unknown scheme"), "{text}");
}
