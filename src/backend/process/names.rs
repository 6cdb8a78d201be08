//! Which names may become a directory: reject, never clean.

/// Whether this is a pod uid as Kubernetes makes them: a UUID in lower case.
pub(crate) fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Whether this is an RFC 1123 label: the form of container, volume and namespace names.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether this is an RFC 1123 subdomain: the form of pod names.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether this is a key of a ConfigMap or a Secret.
pub(crate) fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether this may be the name of an environment variable.
pub(crate) fn is_variable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte != b'=' && byte != 0)
}

/// Checks a path inside a volume: relative, of plain components, no `..`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_inner(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.starts_with('/') {
        return Err("must be relative");
    }
    check_components(path)
}

/// Checks where a volume is mounted: absolute, of plain components, not the root.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_target(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("must be absolute");
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() {
        return Err("must not be the root");
    }
    if path.contains(':') {
        return Err("must not contain ':'");
    }
    check_components(rest)
}

fn check_components(path: &str) -> Result<(), &'static str> {
    if path.len() > 4095 || path.contains('\0') {
        return Err("is not a path");
    }
    for component in path.split('/') {
        match component {
            ".." => return Err("must not contain '..'"),
            "" | "." => return Err("must not contain an empty or '.' component"),
            long if long.len() > 255 => return Err("has a component of more than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lower_case_uuid_is_a_uid() {
        assert!(is_uid("3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11"));
        for bad in ["", "..", "3F0C9D0E-8f0b-4c53-9e1b-5d2f9a4b7c11", "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c1/", "x"] {
            assert!(!is_uid(bad), "{bad}");
        }
    }

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "A", "-a", "a-", "a b", "a\0"] {
            assert!(!is_label(bad), "{bad:?}");
            assert!(!is_subdomain(bad), "{bad:?}");
        }
        assert!(is_label("main-1"));
        assert!(is_subdomain("a.b-c.d"));
        assert!(!is_key(".."));
        assert!(!is_key("a/b"));
        assert!(is_key(".dockerconfigjson"));
    }

    #[test]
    fn paths_inside_a_volume_stay_inside() {
        assert!(check_inner("a/b.txt").is_ok());
        assert!(check_inner("..data").is_ok());
        for bad in ["", "/etc", "..", "a/../b", "a//b", "./a", "a/"] {
            assert!(check_inner(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mount_path_is_absolute_and_not_the_root() {
        assert!(check_target("/etc/config").is_ok());
        assert!(check_target("/data/").is_ok());
        for bad in ["", "etc", "/", "//", "/a/../b", "/a:b"] {
            assert!(check_target(bad).is_err(), "{bad:?}");
        }
    }
}
