//! The hub's HTTP API as the client verbs use it: HTTP/1.1 over TCP, TLS or a Unix socket, one connection a request.
//!
//! Knows URLs, tokens and JSON; knows nothing of what the objects mean. Learn [`Client`] and [`ClientError`].

mod error;
mod lines;
mod query;

pub(crate) use error::ClientError;
pub(crate) use lines::{Lines, LinesError};
pub(crate) use query::{Query, plugin_path, pod_path};

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::{exit::Failure, settings::ClientSettings};
use crate::{
    limits,
    transport::{Endpoint, TlsConfig},
};

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the head of an answer may take: over the hub's longest hold.
const ANSWER: Duration = Duration::from_secs(150);
/// Largest answer that is read whole: a list of the pods that a hub keeps.
const MAX_ANSWER: usize = 256 << 20;

/// Asks one hub. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: TlsConfig,
    token: Option<String>,
}

impl Client {
    /// A client of the hub that the settings name; nothing is sent yet.
    ///
    /// # Errors
    /// When the hub's address is none.
    pub(crate) fn new(settings: &ClientSettings) -> Result<Self, Failure> {
        let endpoint = Endpoint::parse(&settings.hub.value)
            .map_err(|error| Failure::Config(format!("hub (from {}): {error}", settings.hub.source)))?;
        let tls = TlsConfig {
            ca_file: settings.ca_file.clone(),
            ..TlsConfig::default()
        };
        Ok(Self {
            endpoint,
            tls,
            token: settings.token.clone(),
        })
    }

    /// GET, the answer as JSON.
    pub(crate) async fn get(&self, path: &str, query: &Query) -> Result<Value, ClientError> {
        self.whole(Method::GET, path, query, None).await
    }

    /// POST of JSON, the answer as JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.whole(Method::POST, path, &Query::default(), Some(body))
            .await
    }

    /// DELETE, the answer as JSON.
    pub(crate) async fn delete(&self, path: &str, query: &Query) -> Result<Value, ClientError> {
        self.whole(Method::DELETE, path, query, None).await
    }

    /// GET, the answer line by line as it comes. Dropping the lines closes the connection.
    pub(crate) async fn lines(&self, path: &str, query: &Query) -> Result<Lines, ClientError> {
        let response = self.send(Method::GET, path, query, None).await?;
        Ok(Lines::new(self.good(response).await?))
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let response = self.send(method, path, query, body).await?;
        let body = self.good(response).await?;
        let bytes = tokio::time::timeout(ANSWER, Limited::new(body, MAX_ANSWER).collect())
            .await
            .map_err(|_| self.lost("the answer did not end in time"))?
            .map_err(|error| self.lost(error))?
            .to_bytes();
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| self.not_a_hub(&format!("the answer is not JSON ({error})")))
    }

    /// Sends, and waits for the head of the answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = self.request(method, path, query, body)?;
        let io = self
            .endpoint
            .connect(&self.tls, CONNECT)
            .await
            .map_err(|source| ClientError::Unreachable {
                hub: self.endpoint.to_string(),
                source: Box::new(source),
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| self.lost(error))?;
        // It ends when the answer was read or dropped, since nothing more is sent on it.
        tokio::spawn(connection);
        tokio::time::timeout(ANSWER, sender.send_request(request))
            .await
            .map_err(|_| self.lost(format!("no answer within {} s", ANSWER.as_secs())))?
            .map_err(|error| self.lost(error))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let base = self.endpoint.path_or("").trim_end_matches('/');
        let body = body.map(|body| Bytes::from(body.to_string()));
        if let Some(size) = body
            .as_ref()
            .map(Bytes::len)
            .filter(|&size| size > limits::MAX_MESSAGE)
        {
            return Err(ClientError::TooLarge {
                size,
                limit: limits::MAX_MESSAGE,
            });
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}{query}"))
            .header(header::HOST, self.endpoint.host_header())
            .header(header::USER_AGENT, concat!("towline/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| self.not_a_hub("the token cannot be sent in a header"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| self.not_a_hub(&format!("the request cannot be built ({error})")))
    }

    /// The body of a good answer; any other answer becomes an error with the hub's own text.
    async fn good(&self, response: Response<Incoming>) -> Result<Incoming, ClientError> {
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        // An error's text is short; what is longer is not the hub's.
        let text =
            tokio::time::timeout(CONNECT, Limited::new(response.into_body(), 64 << 10).collect()).await;
        let text = text
            .ok()
            .and_then(Result::ok)
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Err(ClientError::refused(
            self.endpoint.to_string(),
            status.as_u16(),
            &text,
            self.token.is_some(),
        ))
    }

    /// An answer that broke off.
    pub(crate) fn lost(&self, why: impl ToString) -> ClientError {
        ClientError::Lost {
            hub: self.endpoint.to_string(),
            why: why.to_string(),
        }
    }

    fn not_a_hub(&self, why: &str) -> ClientError {
        ClientError::NotAHub {
            hub: self.endpoint.to_string(),
            why: why.to_owned(),
        }
    }
}
