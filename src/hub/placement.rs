//! Which plugin a new pod goes to. Pure.
//!
//! The first rule that names a plugin decides: the path's scope, the annotation `towline/plugin`,
//! `spec.nodeName` (a plugin's name, else the `node` label of a pool), the only plugin.

use crate::{
    code::{Code, reason},
    wire::Status,
};

/// The pod annotation that names a plugin.
pub const ANNOTATION: &str = "towline/plugin";
/// The plugin label that puts it into the pool of a node.
pub const NODE_LABEL: &str = "node";

/// What the request says about the place.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) scope: Option<&'a str>,
    pub(crate) annotation: Option<&'a str>,
    pub(crate) node_name: Option<&'a str>,
}

impl<'a> Wish<'a> {
    /// The plugin that is named outright.
    pub(crate) fn named(&self) -> Option<&'a str> {
        self.scope.or(self.annotation.filter(|name| !name.is_empty()))
    }
}

/// One known plugin, connected or not.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) node: Option<String>,
    pub(crate) connected: bool,
    pub(crate) ready: bool,
    pub(crate) pods: usize,
}

/// Names the plugin for a pod. A plugin named outright need not be known: it may be about to connect.
///
/// # Errors
/// UNAVAILABLE when no plugin is known at all (one may connect soon), FAILED_PRECONDITION when there are
/// several and nothing tells which one; the text lists them.
pub(crate) fn place(wish: Wish<'_>, candidates: &[Candidate]) -> Result<String, Status> {
    if let Some(name) = wish.named() {
        return Ok(name.to_owned());
    }
    if let Some(node) = wish.node_name.filter(|node| !node.is_empty()) {
        if candidates.iter().any(|candidate| candidate.name == node) {
            return Ok(node.to_owned());
        }
        let pool = candidates
            .iter()
            .filter(|candidate| candidate.node.as_deref() == Some(node));
        if let Some(best) = pool.min_by(|a, b| rank(a).cmp(&rank(b))) {
            return Ok(best.name.clone());
        }
    }
    match candidates {
        [only] => Ok(only.name.clone()),
        [] => Err(Status::new(
            Code::Unavailable,
            reason::PLUGIN_OFFLINE,
            "no plugin has connected to this hub yet; start one with `towline plugin`",
        )),
        several => Err(Status::new(
            Code::FailedPrecondition,
            reason::NO_PLACEMENT,
            format!(
                "several plugins are known ({}) and nothing says which one; use /nodes/NAME/ in the URL, the pod \
                 annotation {ANNOTATION}, or a plugin label {NODE_LABEL}={}",
                list(several.iter().map(|candidate| candidate.name.as_str())),
                wish.node_name
                    .filter(|node| !node.is_empty())
                    .unwrap_or("<spec.nodeName>"),
            ),
        )),
    }
}

/// Whether the pool of a node decides and none of its plugins can start pods now: one of them may come soon.
pub(crate) fn waits_for_pool(wish: Wish<'_>, candidates: &[Candidate]) -> bool {
    let named = wish.named().is_some();
    let Some(node) = wish.node_name.filter(|node| !named && !node.is_empty()) else {
        return false;
    };
    if candidates.iter().any(|candidate| candidate.name == node) {
        return false;
    }
    let mut pool = candidates
        .iter()
        .filter(|candidate| candidate.node.as_deref() == Some(node))
        .peekable();
    pool.peek().is_some() && pool.all(|candidate| !candidate.ready)
}

/// A list for an error text, cut after ten names.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let shown = names.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// Ready before connected before absent, then the fewest pods, then by name.
fn rank(candidate: &Candidate) -> (bool, bool, usize, &str) {
    (
        !candidate.ready,
        !candidate.connected,
        candidate.pods,
        &candidate.name,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plugin(name: &str, node: Option<&str>, ready: bool, pods: usize) -> Candidate {
        Candidate {
            name: name.into(),
            node: node.map(Into::into),
            connected: ready,
            ready,
            pods,
        }
    }

    #[test]
    fn the_scope_of_the_path_decides_before_everything() {
        let wish = Wish {
            scope: Some("a"),
            annotation: Some("b"),
            node_name: Some("c"),
        };
        assert_eq!(place(wish, &[plugin("b", None, true, 0)]).unwrap(), "a");
    }

    #[test]
    fn the_annotation_decides_before_the_node_name() {
        let wish = Wish {
            scope: None,
            annotation: Some("b"),
            node_name: Some("c"),
        };
        assert_eq!(place(wish, &[plugin("c", None, true, 0)]).unwrap(), "b");
    }

    #[test]
    fn a_node_name_is_a_plugin_name_before_it_is_a_pool() {
        let wish = Wish {
            node_name: Some("n"),
            ..Wish::default()
        };
        let known = [plugin("x", Some("n"), true, 0), plugin("n", None, false, 9)];
        assert_eq!(place(wish, &known).unwrap(), "n");
    }

    #[test]
    fn a_pool_gives_the_ready_plugin_with_the_fewest_pods() {
        let wish = Wish {
            node_name: Some("n"),
            ..Wish::default()
        };
        let known = [
            plugin("a", Some("n"), true, 3),
            plugin("b", Some("n"), true, 2),
            plugin("c", Some("n"), false, 0),
            plugin("d", Some("other"), true, 0),
        ];
        assert_eq!(place(wish, &known).unwrap(), "b");
    }

    #[test]
    fn a_pool_without_a_ready_plugin_is_waited_for_and_no_other_place_is() {
        let wish = Wish {
            node_name: Some("n"),
            ..Wish::default()
        };
        let down = [plugin("a", Some("n"), false, 0), plugin("b", Some("n"), false, 0)];
        assert!(waits_for_pool(wish, &down));
        assert!(!waits_for_pool(
            wish,
            &[down[0].clone(), plugin("b", Some("n"), true, 0)]
        ));
        assert!(!waits_for_pool(
            wish,
            &[plugin("n", None, false, 0), down[0].clone()]
        ));
        assert!(!waits_for_pool(wish, &[plugin("a", None, false, 0)]));
        let scope = Wish {
            scope: Some("a"),
            ..wish
        };
        assert!(!waits_for_pool(scope, &down));
    }

    #[test]
    fn the_only_plugin_takes_what_names_nobody() {
        assert_eq!(
            place(Wish::default(), &[plugin("a", None, false, 0)]).unwrap(),
            "a"
        );
    }

    #[test]
    fn several_plugins_and_no_wish_is_an_error_that_lists_them() {
        let known = [plugin("b", None, true, 0), plugin("a", None, true, 0)];
        let status = place(Wish::default(), &known).unwrap_err();
        assert_eq!(status.reason, reason::NO_PLACEMENT);
        assert!(status.message.contains("a, b"), "{}", status.message);
    }

    #[test]
    fn no_plugin_at_all_is_worth_waiting_for() {
        assert_eq!(place(Wish::default(), &[]).unwrap_err().kind(), Code::Unavailable);
    }
}
