//! The plugin's own HTTP endpoints, as an author sees them: a request with its body, an answer with its head.

use bytes::Bytes;

use crate::{
    code::{Code, reason},
    connection::{BodyReader, BodySink, CallGone},
    limits,
    wire::{HttpHeader, HttpRequest, HttpResponse, Status, http::end_to_end},
};

/// A request to the plugin's own endpoints (feature `http`), from whoever may use the hub's API.
#[derive(Debug)]
pub struct HttpCall {
    /// Method, path with query, and header fields; hop-by-hop fields are removed. What is in them is the caller's: a path
    /// may hold `..` and escapes.
    pub head: HttpRequest,
    /// The body, read as it comes: what is not read waits at the caller. Without one (`has_body` false) there is nothing
    /// to read.
    pub body: BodyReader,
    /// Metadata of the call (keys in lower case).
    pub metadata: std::collections::HashMap<String, String>,
}

/// Where the answer goes: its head first.
///
/// # Examples
/// A handler's `http`, with one endpoint that answers at once and one that goes on:
/// ```
/// use towline::{code::Code, plugin::{HttpAnswer, HttpCall}, wire::{HttpHeader, HttpResponse, Status}};
///
/// async fn http(call: HttpCall, answer: HttpAnswer) -> Result<(), Status> {
///     match (call.head.method.as_str(), call.head.path.as_str()) {
///         ("GET", "/system-info") => answer.whole(200, "application/json", r#"{"nodes": 12}"#).await,
///         ("GET", "/ticks") => {
///             let headers = vec![HttpHeader::new("content-type", "text/event-stream")];
///             let mut body = answer.head(HttpResponse { status: 200, headers }).await?;
///             loop {
///                 // Waits while the reader is slow, and fails when it has gone.
///                 body.send("data: tick\n\n".into()).await?;
///                 tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///             }
///         }
///         _ => Err(Status::new(Code::NotFound, "", "no such endpoint")),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct HttpAnswer {
    sink: BodySink,
}

/// Where the body of the answer goes, once its head has left. The call's good end is that of the body; a call that fails
/// is an answer cut off, and its reader sees so.
#[derive(Debug)]
pub struct HttpBody {
    sink: BodySink,
}

impl HttpAnswer {
    pub(super) fn new(sink: BodySink) -> Self {
        Self { sink }
    }

    /// Sends the head. Fields that are meant for one connection alone are left out.
    ///
    /// # Errors
    /// For a status or a head that cannot be sent, with the bound; CANCELLED when the caller has gone.
    pub async fn head(mut self, mut head: HttpResponse) -> Result<HttpBody, Status> {
        let broken = |text: String| Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text));
        if !(200..=599).contains(&head.status) {
            let status = head.status;
            return broken(format!(
                "an endpoint answered with HTTP status {status}, which ends no request"
            ));
        }
        head.headers = end_to_end(head.headers);
        let (counts, most) = (head.counts(), limits::HTTP_ANSWER_HEAD);
        if counts > most {
            return broken(format!(
                "an endpoint answered with a head of {counts} bytes; at most {most}"
            ));
        }
        self.sink.head(head).await?;
        Ok(HttpBody { sink: self.sink })
    }

    /// Sends a whole answer.
    ///
    /// # Errors
    /// As [`HttpAnswer::head`].
    pub async fn whole(
        self,
        status: u16,
        content_type: &str,
        body: impl Into<Bytes> + Send,
    ) -> Result<(), Status> {
        let body = body.into();
        let head = HttpResponse {
            status: u32::from(status),
            headers: vec![
                HttpHeader::new("content-type", content_type.to_owned()),
                HttpHeader::new("content-length", body.len().to_string()),
            ],
        };
        Ok(self.head(head).await?.send(body).await?)
    }
}

impl HttpBody {
    /// Sends bytes of the body, waiting while its reader is slow.
    ///
    /// # Errors
    /// When the caller has gone: nothing needs to be done any more.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), CallGone> {
        self.sink.send(&mut bytes).await
    }
}

impl From<CallGone> for Status {
    fn from(_: CallGone) -> Self {
        Self::new(Code::Cancelled, "", "the caller has gone")
    }
}

/// What a plugin without endpoints answers.
pub(super) fn none() -> Status {
    let text = "this plugin has no HTTP endpoints of its own";
    Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text).not_started()
}
