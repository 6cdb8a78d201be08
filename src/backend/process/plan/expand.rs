//! `$(VAR)` as Kubernetes expands it in env values, command and args.

/// Replaces `$(NAME)` by what `lookup` gives. `$$` is a literal `$`; a name that `lookup` does not know, an unclosed
/// reference and a lone `$` stay as they are.
pub(crate) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
            out.push('$');
            rest = after;
            continue;
        };
        match lookup(name) {
            Some(value) => out.push_str(value),
            None => {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_a(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("one"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn known_names_are_replaced_and_unknown_ones_stay() {
        assert_eq!(with_a("x$(A)y"), "xoney");
        assert_eq!(with_a("$(A)$(A)"), "oneone");
        assert_eq!(with_a("$(B)"), "$(B)");
        assert_eq!(with_a("[$(EMPTY)]"), "[]");
    }

    #[test]
    fn two_dollars_escape_one() {
        assert_eq!(with_a("$$(A)"), "$(A)");
        assert_eq!(with_a("$$$(A)"), "$one");
        assert_eq!(with_a("$$$$(A)"), "$$(A)");
    }

    #[test]
    fn shell_forms_and_broken_references_stay() {
        for same in ["$A", "${A}", "$(A", "$", "a$", "$("] {
            assert_eq!(with_a(same), same);
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expand("$(A)", |_| Some("$(A)")), "$(A)");
    }
}
