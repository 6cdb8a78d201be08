//! A local template: minijinja over the JSON that the plugin would get.

use std::{fmt, io};

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, syntax::SyntaxConfig, value};

use super::{go, shell};
use crate::{code::Code, interlink::RetrievedPodData, limits, wire::Status};

/// The one template of the environment.
const NAME: &str = "job script";

/// A compiled template. It knows no files but itself, no clock and no environment.
pub struct Template {
    environment: Environment<'static>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTemplate {
    /// It was written for interLink's API server.
    #[error(
        "line {line}: `{action}` is Go text/template, and towline's job script templates are minijinja: the conversion table \
         is in docs/MIGRATION.md, \"Job script templates\""
    )]
    Go {
        /// From 1.
        line: usize,
        /// As it stands there.
        action: String,
    },
    /// It is wrong.
    #[error("line {line}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the engine says.
        problem: String,
    },
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// Says the line, and where help is if it is Go's.
    pub fn compile(text: String) -> Result<Self, BadTemplate> {
        if let Some((line, action)) = go::first_action(&text) {
            return Err(BadTemplate::Go { line, action });
        }
        let mut environment = Environment::new();
        // Else an error does not say which name is missing. Values are shown only by a format that is not used here.
        environment.set_debug(true);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(limits::JOBSCRIPT_FUEL));
        environment.set_recursion_limit(limits::JOBSCRIPT_RECURSION);
        environment.add_filter("shellquote", shell::shellquote);
        environment.add_filter("b64decode", shell::b64decode);
        let wrong = |error: Error| BadTemplate::Syntax {
            line: error.line().unwrap_or(1),
            problem: told(&error),
        };
        // A script ends with a line end, and Go keeps it.
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.map_err(wrong)?);
        environment.add_template_owned(NAME, text).map_err(wrong)?;
        Ok(Self { environment })
    }

    /// The script of a pod. Nothing but work.
    ///
    /// # Errors
    /// FAILED_PRECONDITION with the line and what is missing; no value of the pod is repeated.
    pub(super) fn render(&self, pod: &RetrievedPodData) -> Result<String, Status> {
        let failed = |error: Error| {
            let line = error
                .line()
                .map_or(String::new(), |line| format!(", line {line}"));
            let text = format!("the job script template fails{line}: {}", told(&error));
            Status::new(Code::FailedPrecondition, "", text)
        };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        // What is kept as text is text to the engine: it needs the tree.
        let tree = serde_json::to_value(pod).map_err(|error| {
            let text = format!("the pod cannot be read as JSON: {error}");
            Status::new(Code::Internal, "", text)
        })?;
        let mut script = Bounded::default();
        let rendered = template.render_captured_to(value::Value::from(value::Serde(&tree)), &mut script);
        if script.full {
            let text = format!(
                "the job script template makes more than {} MiB",
                limits::JOBSCRIPT >> 20
            );
            return Err(Status::new(Code::FailedPrecondition, "", text));
        }
        rendered.map_err(failed)?;
        String::from_utf8(script.bytes).map_err(|_| {
            let text = "the job script template makes a text that is not UTF-8";
            Status::new(Code::FailedPrecondition, "", text)
        })
    }
}

/// Kind and detail, without the template's own name.
fn told(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Takes so many bytes and no more.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > limits::JOBSCRIPT - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::interlink::{PodCreateRequests, parse};

    fn pod() -> RetrievedPodData {
        let request: PodCreateRequests =
            parse(include_bytes!("../../tests/payloads/create.vk.json")).unwrap();
        request.retrieve()
    }

    fn rendered(text: &str) -> Result<String, String> {
        let template = Template::compile(text.to_owned()).map_err(|bad| bad.to_string())?;
        template.render(&pod()).map_err(|status| {
            assert_eq!(status.kind(), Code::FailedPrecondition);
            status.message
        })
    }

    #[test]
    fn a_template_sees_what_the_plugin_would_get() {
        let text = "{{ pod.metadata.name }} {% for c in container %}{{ c.name }} {% endfor %}{{ jobConfig.Volumes.image_dir }}.\n";
        let pod = pod();
        let names: Vec<&str> = pod.container.iter().map(|c| c.name.as_str()).collect();
        let expected = format!("{} {} .\n", pod.pod.name(), names.join(" "));
        assert_eq!(rendered(text).unwrap(), expected);
    }

    #[test]
    fn nothing_is_escaped_and_the_last_line_end_is_kept() {
        assert_eq!(rendered("{{ \"<a> & 'b'\" }}\n").unwrap(), "<a> & 'b'\n");
        assert_eq!(rendered("{{ \"it's\"|shellquote }}").unwrap(), r"'it'\''s'");
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let error = rendered("#!/bin/sh\necho {{ pod.metadata.labels.team }}\n").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("pod.metadata.labels"),
            "{error}"
        );
        let error = rendered("{% if nonsense %}{% endif %}").unwrap_err();
        assert!(error.contains("line 1") && error.contains("nonsense"), "{error}");
    }

    #[test]
    fn a_wrong_template_says_its_line_before_any_pod() {
        for (text, line, word) in [
            ("a\n{% for x in %}", 2, "syntax"),
            ("a\n\n{{ pod.metadata.name", 3, "syntax"),
            ("{% endif %}", 1, "endif"),
        ] {
            let error = Template::compile(text.to_owned()).unwrap_err();
            let BadTemplate::Syntax { line: found, problem } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(*found, line, "{problem}");
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_go_template_is_refused_with_a_pointer() {
        let error = Template::compile("#!/bin/sh\n#SBATCH -J {{ .Pod.Name }}\n".to_owned()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2: `{{ .Pod.Name }}`"), "{text}");
        assert!(text.contains("docs/MIGRATION.md"), "{text}");
    }

    #[test]
    fn a_template_that_does_not_end_is_ended() {
        let loops =
            "{% for a in range(10000) %}{% for b in range(10000) %}{% set x = a %}{% endfor %}{% endfor %}";
        let error = rendered(loops).unwrap_err();
        assert!(error.contains("fuel"), "{error}");
        let deep = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
        let error = rendered(deep).unwrap_err();
        assert!(error.contains("recursion"), "{error}");
    }

    #[test]
    fn a_script_has_a_bound() {
        let long = "{% for a in range(10000) %}0123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                    {% endfor %}";
        let error = rendered(long).unwrap_err();
        assert!(error.contains("4 MiB"), "{error}");
    }

    #[test]
    fn a_template_reaches_no_file() {
        assert!(rendered("{% include '/etc/passwd' %}").is_err());
    }

    #[test]
    fn an_error_repeats_no_value_of_the_pod() {
        let error = rendered("{{ pod.metadata.uid|int }}").unwrap_err();
        assert!(!error.contains(pod().pod.uid()), "{error}");
    }
}
