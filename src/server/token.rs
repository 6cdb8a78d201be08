//! The shared bearer token.

use std::fmt;

use hyper::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Refusal;

/// A bearer token, kept as its SHA-256 only.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// Why a text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing in it.
    #[error("token is empty")]
    Empty,
    /// Something that cannot stand in a header (RFC 6750 section 2.1).
    #[error("token holds a character that cannot be sent in a header: use letters, digits and -._~+/=")]
    Character,
}

impl Token {
    /// A token; white space around it, as an editor leaves it in a file, is not part of it.
    ///
    /// # Errors
    /// When it is empty or could never be sent.
    pub fn new(secret: &str) -> Result<Self, BadToken> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(BadToken::Empty);
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Character);
        }
        Ok(Self(digest(secret.as_bytes())))
    }

    /// Lets a request in by its `Authorization` header.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(Refusal::unauthenticated(
                "no token: send `Authorization: Bearer TOKEN`",
            ));
        };
        let Some(secret) = bearer(value.as_bytes()) else {
            return Err(Refusal::unauthenticated(
                "Authorization is not of the form `Bearer TOKEN`",
            ));
        };
        if bool::from(digest(secret).ct_eq(&self.0)) {
            Ok(())
        } else {
            Err(Refusal::forbidden("wrong token"))
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The scheme is read without regard to case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let secret = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_right_token_is_let_in() {
        let token = Token::new("s3cret\n").unwrap();
        assert!(token.check(&with("Bearer s3cret")).is_ok());
        assert!(token.check(&with("bearer s3cret")).is_ok());
        assert_eq!(token.check(&with("Bearer s3cret2")).unwrap_err().http, 403);
        assert_eq!(token.check(&with("Basic s3cret")).unwrap_err().http, 401);
        assert_eq!(token.check(&with("Bearer ")).unwrap_err().http, 401);
        assert_eq!(token.check(&HeaderMap::new()).unwrap_err().http, 401);
    }

    #[test]
    fn a_token_is_never_printed() {
        assert_eq!(format!("{:?}", Token::new("s3cret").unwrap()), "Token(..)");
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused() {
        assert_eq!(Token::new(" \n").unwrap_err(), BadToken::Empty);
        assert_eq!(Token::new("a b").unwrap_err(), BadToken::Character);
    }
}
