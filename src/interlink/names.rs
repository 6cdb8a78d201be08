//! Kubernetes names (RFC 1123) and uids. They become file names at plugins: nothing else may pass.

/// A lower-case UUID of 36 characters.
pub fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// An RFC 1123 label: 1 to 63 of `a-z 0-9 -`, with a letter or digit at both ends.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// An RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uid_is_a_lower_case_uuid() {
        assert!(is_uid("3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11"));
        assert!(!is_uid("3F0C9D0E-8F0B-4C53-9E1B-5D2F9A4B7C11"));
        assert!(!is_uid("3f0c9d0e8f0b4c539e1b5d2f9a4b7c11"));
        assert!(!is_uid("../../etc/passwd"));
        assert!(!is_uid("3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c1\n"));
    }

    #[test]
    fn labels_and_subdomains_follow_rfc_1123() {
        for good in ["a", "0", "a-b", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "ü", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_subdomain("httpbin-6d9f7c5b8-x2k4q.v1"));
        for bad in ["", ".", "..", "a..b", ".a", "a.", "a/../b", &"x".repeat(254)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_good_name_leaves_its_directory(name in "\\PC{0,70}") {
            if is_label(&name) || is_subdomain(&name) || is_uid(&name) {
                prop_assert!(!name.contains('/') && !name.contains("..") && !name.contains('\0'));
            }
        }
    }
}
