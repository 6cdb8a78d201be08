//! [`Status`] as the error of every call, and small constructors on the domain types.

use std::{collections::HashMap, fmt};

use super::{PodRef, Response, Status};
use crate::code::Code;

impl Status {
    /// A failure with a reason word (see [`crate::code::reason`]; may be empty) and a text for people.
    pub fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code: code as i32,
            reason: reason.to_owned(),
            message: message.into(),
            not_started: false,
            retry_after_ms: 0,
            details: HashMap::new(),
        }
    }

    /// The same, sure that nothing was begun.
    pub fn not_started(mut self) -> Self {
        self.not_started = true;
        self
    }

    /// The code as an enum. An unknown number is [`Code::Unknown`].
    pub fn kind(&self) -> Code {
        Code::from_number(self.code)
    }
}

impl Response {
    /// The end of a call that failed.
    pub fn failed(status: Status) -> Self {
        Self {
            status: Some(status),
            result: None,
        }
    }

    /// How the call ended.
    ///
    /// # Errors
    /// The status, when it is not that of a success.
    pub fn into_result(self) -> Result<Self, Status> {
        match self.status {
            Some(status) if status.code != 0 => Err(status),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Status {}

impl PodRef {
    /// A reference of its three parts; nothing is checked here.
    pub fn new(uid: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            uid: uid.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.namespace, self.name, self.uid)
    }
}
