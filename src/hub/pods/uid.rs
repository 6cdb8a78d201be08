//! A pod's uid as a number: what the table is sorted by, found in few steps and kept without memory of its own.

use std::fmt;

/// A lower-case UUID. They sort as their texts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uid(u64, u64);

impl Uid {
    /// None for what [`crate::interlink::is_uid`] says no to.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
        let dashes = [8, 13, 18, 23].map(|at| text[at]) == [b'-'; 4];
        let high = digits(digits(digits(0, &text[..8])?, &text[9..13])?, &text[14..18])?;
        let low = digits(digits(0, &text[19..23])?, &text[24..])?;
        dashes.then_some(Self(high, low))
    }
}

/// The number with these hexadecimal digits behind it.
fn digits(number: u64, text: &[u8]) -> Option<u64> {
    text.iter().try_fold(number, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(high, low) = self;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::interlink::is_uid;

    const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

    proptest! {
        #[test]
        fn what_is_a_uid_is_read_and_written_again(text in r"[0-9a-fA-F\-]{35,37}|\PC{36}", at in 0_usize..36, byte in " -~") {
            let mut one_off = UID.to_owned();
            one_off.replace_range(at..=at, &byte);
            for text in [&text, &one_off] {
                prop_assert_eq!(Uid::read(text).is_some(), is_uid(text), "{}", text);
                prop_assert!(Uid::read(text).is_none_or(|uid| uid.to_string() == *text));
            }
        }

        #[test]
        fn they_sort_as_their_texts(one in any::<(u64, u64)>(), other in any::<(u64, u64)>()) {
            let (one, other) = (Uid(one.0, one.1), Uid(other.0, other.1));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(Uid::read(&one.to_string()), Some(one));
        }
    }
}
