//! Tells a Go text/template, which interLink's API server takes, from a minijinja template.

/// Words that begin an action of Go's, and after which minijinja would have no expression.
const ACTIONS: [&str; 8] = [
    "if", "range", "with", "define", "block", "template", "break", "continue",
];

/// The first action of a Go template: its line, from 1, and its text.
pub(super) fn first_action(text: &str) -> Option<(usize, String)> {
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        // What a script itself says in braces, such as `docker ps --format`, is kept from minijinja like this.
        if let Some(end) = raw_end(text, at, open) {
            at = end;
            continue;
        }
        let inside = &text[open + 2..];
        let length = inside.find("}}").unwrap_or(inside.len());
        if is_go(&inside[..length]) {
            let line = text[..open].matches('\n').count() + 1;
            let action: String = format!("{{{{{}}}}}", &inside[..length])
                .chars()
                .take(80)
                .collect();
            return Some((line, action));
        }
        at = open + 2;
    }
    None
}

/// The end of the raw block or the comment that begins between the two places and reaches over the second.
fn raw_end(text: &str, from: usize, open: usize) -> Option<usize> {
    let before = &text[from..open];
    if let Some(comment) = before.rfind("{#") {
        let end = text[from + comment..]
            .find("#}")
            .map(|end| from + comment + end + 2);
        if end.is_none_or(|end| end > open) {
            return Some(end.unwrap_or(text.len()));
        }
    }
    let tag = before.rfind("{%")?;
    let inside = before[tag + 2..].trim_start_matches(['-', '+']).trim_start();
    if !inside.starts_with("raw") {
        return None;
    }
    let end = text[open..].find("endraw");
    Some(end.map_or(text.len(), |end| open + end))
}

/// Whether this stands between Go's braces.
fn is_go(inside: &str) -> bool {
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let inside = inside.strip_suffix('-').unwrap_or(inside).trim();
    // The argument of a bracket says what the bracket is.
    let inside = inside.trim_start_matches(['(', ' ', '\t', '\n']);
    // A field, a variable, a comment.
    if inside.starts_with(['.', '$']) || inside.starts_with("/*") {
        return true;
    }
    let end = inside
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(inside.len());
    let (word, rest) = inside.split_at(end);
    match word {
        "" => false,
        "end" | "else" if rest.is_empty() => true,
        "else" => rest.starts_with(char::is_whitespace),
        // A function and its first argument, with nothing but a space between: minijinja has brackets there.
        _ if !rest.starts_with(char::is_whitespace) => false,
        word if ACTIONS.contains(&word) => true,
        _ => rest.trim_start().starts_with(['.', '$', '"', '`']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_actions_are_recognised() {
        for text in [
            "{{ .Pod.Name }}",
            "{{.Pod.Name}}",
            "{{- .Pod.Name -}}",
            "{{ range .Containers }}",
            "{{range $i, $c := .Containers}}",
            "{{ end }}",
            "{{- end -}}",
            "{{ else }}",
            "{{ else if .X }}",
            "{{ if and (eq 1 1) }}",
            "{{ with .Pod.Spec }}",
            "{{ $x := 1 }}",
            "{{/* a comment */}}",
            "{{- /* a comment */ -}}",
            "{{ define \"T\" }}",
            "{{ template \"T\" . }}",
            "{{ index .Pod.Labels \"a\" }}",
            "{{ printf \"%s\" .Pod.Name }}",
            "{{ len .Containers }}",
            "{{ printf `%s` .Pod.Name }}",
            "{{ (index .Pod.Spec.Containers 0).Image }}",
            "{{ (.Pod).Name }}",
        ] {
            let whole = format!("#!/bin/sh\n# a line\n{text}\n");
            assert_eq!(first_action(&whole), Some((3, text.to_owned())), "{text}");
        }
    }

    #[test]
    fn minijinja_is_not_taken_for_go() {
        for text in [
            "{{ pod.metadata.name }}",
            "{{- pod.metadata.name -}}",
            "{{ name if name else 'x' }}",
            "{{ \"text\" }}",
            "{{ range(3) }}",
            "{{ end_of_time }}",
            "{{ ifname }}",
            "{{ (a).b }}",
            "{{ (a|default({})).b }}",
            "{{ ((a)) }}",
            "{{ a | default(\".\") }}",
            "{{ a ~ \".\" }}",
            "{% for c in container %}{{ c.name }}{% endfor %}",
            "{# {{ .Pod.Name }} #}",
            "{% raw %}docker ps --format '{{.Names}} {{ .Image }}'{% endraw %}",
            "{%- raw -%}{{.Names}}{%- endraw -%}",
            "no braces",
            "{{",
            "",
        ] {
            assert_eq!(first_action(text), None, "{text}");
        }
    }

    #[test]
    fn go_after_a_raw_block_or_a_comment_is_seen() {
        for text in [
            "{% raw %}{{.A}}{% endraw %}{{ .B }}",
            "{# {{.A}} #}{{ .B }}",
            "{% raw %}{% endraw %}{% if x %}{{ .B }}",
        ] {
            assert_eq!(first_action(text), Some((1, "{{ .B }}".to_owned())), "{text}");
        }
    }
}
