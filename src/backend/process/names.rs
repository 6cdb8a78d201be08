//! Which names and paths may become a file: reject, never clean. Uids, labels and subdomains are
//! [`crate::interlink`]'s.

/// Whether this is a key of a ConfigMap or a Secret.
pub(crate) fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text != "."
        && !text.starts_with("..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
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
    fn keys_that_would_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "..data", "a/b", "a b", "a\0"] {
            assert!(!is_key(bad), "{bad:?}");
        }
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
