//! The end of a connection: close frames, and everybody told.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{Ended, driver::Driver, form};
use crate::{
    code::CloseCode,
    transport::{Message, NO_CODE, Transport, TransportError},
};

/// How long the closing handshake of the transport may take.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

impl<T: Transport> Driver<T> {
    /// Tells the peer what it broke, where the transport does not.
    pub(super) async fn tell_fault(&mut self, ended: &Ended) {
        let broke = [CloseCode::TOO_BIG, CloseCode::PROTOCOL].contains(&ended.code) && !ended.by_peer;
        if broke && self.transport.closes_by_go_away() {
            self.shared.lock().session.close(ended.code, &ended.reason);
            self.close_transport(ended.code, &ended.reason).await;
        }
    }

    pub(super) async fn close_transport(&mut self, code: CloseCode, reason: &str) {
        if self.transport.closes_by_go_away() {
            self.shared.lock().session.farewell(code, reason);
        }
        let close = async {
            // GoAway and the like first.
            loop {
                poll_fn(|cx| self.transport.poll_ready(cx)).await?;
                let Some(message) = form::next(&mut self.shared.lock().session) else {
                    break;
                };
                self.transport.start_send(message)?;
            }
            self.transport
                .start_send(Message::Close(code.0, reason.to_owned()))?;
            poll_fn(|cx| self.transport.poll_flush(cx)).await?;
            // The peer's close, so that ours is not lost to a reset.
            while let Some(Ok(message)) = poll_fn(|cx| self.transport.poll_recv(cx)).await {
                if matches!(message, Message::Close(..)) {
                    break;
                }
            }
            Ok::<_, TransportError>(())
        };
        // However it goes, the connection ends here.
        let _ = tokio::time::timeout(CLOSE_GRACE, close).await;
    }

    /// Tells all that happened, also when one of those who are told panics.
    fn tell_all(&mut self) {
        while catch_unwind(AssertUnwindSafe(|| drop(self.tell()))).is_err() {}
    }

    pub(super) fn finish(&mut self, mut ended: Ended) {
        // After a panic something may be left.
        self.tell_all();
        self.collect(|inner| inner.session.handle_lost());
        self.tell_all();
        if ended.by_peer {
            // Known only now when GoAway and the close came in one read.
            ended.retry_after = self.retry_after;
            if ended.code.0 == NO_CODE {
                match self.going.take() {
                    Some((code, reason)) => (ended.code, ended.reason) = (code, reason),
                    None if self.transport.closes_by_go_away() => ended.code = CloseCode::ABNORMAL,
                    None => {}
                }
            }
        }
        if let Some(over) = &self.over {
            over.cancel();
        }
        let mut inner = self.shared.lock();
        for (_, mut running) in inner.running.take_all() {
            running.cancel();
        }
        drop(inner);
        self.shared.set_over();
        self.shared.end.change(|end| *end = Some(ended));
    }
}

pub(super) fn broken(error: &TransportError) -> Ended {
    let code = match error {
        TransportError::TooLarge { .. } => CloseCode::TOO_BIG,
        TransportError::Protocol(_) => CloseCode::PROTOCOL,
        TransportError::Io(_) => CloseCode::ABNORMAL,
    };
    let mut reason = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        reason = format!("{reason}: {source}");
    }
    Ended {
        code,
        reason,
        by_peer: false,
        retry_after: Duration::ZERO,
    }
}
