//! The token of a file that may not be there yet.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use hyper::HeaderMap;

use crate::{
    code::{Code, reason},
    server::{Refusal, Token},
    wire::Status,
};

/// Lets in who has the token.
#[derive(Debug)]
pub(super) struct Doorman {
    file: Option<PathBuf>,
    /// It was told that the file is no good.
    told: AtomicBool,
}

impl Doorman {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            told: AtomicBool::new(false),
        }
    }

    /// The file is read each time, so that it may come late and change: requests are some a second.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.token().await? {
            Some(token) => token.check(headers),
            None => Ok(()),
        }
    }

    /// The token that is asked for, if one is. That it cannot be read, and that it can again, is told once.
    pub(super) async fn token(&self) -> Result<Option<Token>, Refusal> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        match read(file).await {
            Ok(token) => {
                if self.told.swap(false, Ordering::Relaxed) {
                    tracing::info!(file = %file.display(), "the token of the REST side can be read again");
                }
                Ok(Some(token))
            }
            Err(why) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        file = %file.display(), %why,
                        "the token of the REST side cannot be read: nobody is let in until it can"
                    );
                }
                let text = "the token of this plugin's REST cannot be read; the plugin's log says more";
                Err(Status::new(Code::Unavailable, reason::NOT_READY, text).into())
            }
        }
    }
}

async fn read(file: &Path) -> Result<Token, String> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| error.to_string())?;
    Token::new(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::header;

    use super::*;

    #[tokio::test]
    async fn a_token_that_comes_late_is_asked_for_and_until_then_nobody_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let doorman = Doorman::new(Some(file.clone()));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer s3cret".parse().unwrap());
        assert_eq!(doorman.check(&headers).await.unwrap_err().http, 503);
        std::fs::write(&file, "").unwrap();
        assert_eq!(doorman.check(&headers).await.unwrap_err().http, 503);
        std::fs::write(&file, "s3cret\n").unwrap();
        assert!(doorman.check(&headers).await.is_ok());
        assert_eq!(doorman.check(&HeaderMap::new()).await.unwrap_err().http, 401);
        std::fs::write(&file, "other").unwrap();
        assert_eq!(doorman.check(&headers).await.unwrap_err().http, 403);
        assert!(Doorman::new(None).check(&HeaderMap::new()).await.is_ok());
    }
}
