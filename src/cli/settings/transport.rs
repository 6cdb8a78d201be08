//! Which of the two transports are in force, at either end.

/// As interLink's issue 527 names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The link alone.
    Ws,
    /// interLink's REST alone.
    Http,
    /// Both: the link goes before.
    Auto,
}

impl Transport {
    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Http => "http",
            Self::Auto => "auto",
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Says what is known.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::Ws, Self::Http, Self::Auto];
        let found = all.into_iter().find(|transport| transport.word() == text);
        found.ok_or_else(|| format!("{text:?} is not known; use ws, http or auto"))
    }
}
