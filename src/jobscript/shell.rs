//! What a template needs to write a shell script.

use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{
    Error, ErrorKind,
    value::{Value, ValueKind},
};

/// `shellquote`: one word of a shell, whatever is in it. Of a list: its items, each one word.
pub(super) fn shellquote(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let words: Result<Vec<String>, Error> = value.try_iter()?.map(|item| word(&item)).collect();
            Ok(words?.join(" "))
        }
        _ => word(value),
    }
}

fn word(value: &Value) -> Result<String, Error> {
    let text = match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => value.to_string(),
        kind => {
            let text = format!("shellquote takes a text, a number, a boolean or a list of them, not {kind}");
            return Err(Error::new(ErrorKind::InvalidOperation, text));
        }
    };
    if text.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a word of a shell cannot hold a zero byte",
        ));
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// `b64decode`: the text in a Secret's `data`.
pub(super) fn b64decode(text: &str) -> Result<String, Error> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "b64decode: this is not base64"))?;
    String::from_utf8(bytes).map_err(|_| {
        Error::new(
            ErrorKind::InvalidOperation,
            "b64decode: what is in it is not UTF-8",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in [
            "",
            "a b",
            "it's",
            "$(id) `id` \"x\" \\ \n # ; & | * ? ~",
            "-n",
            "\u{fc}",
        ] {
            let quoted = shellquote(&Value::from(text)).unwrap();
            let script = format!("printf %s {quoted}");
            let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
        assert_eq!(
            shellquote(&Value::from(vec!["a", "b'c"])).unwrap(),
            r"'a' 'b'\''c'"
        );
        assert_eq!(shellquote(&Value::from(3)).unwrap(), "'3'");
        assert_eq!(shellquote(&Value::from(Vec::<String>::new())).unwrap(), "");
    }

    #[test]
    fn what_is_no_word_is_not_quoted() {
        assert!(shellquote(&Value::from("a\0b")).is_err());
        assert!(shellquote(&Value::from(())).is_err());
        assert!(shellquote(&Value::UNDEFINED).is_err());
        assert!(shellquote(&Value::from_pairs([("a", 1)])).is_err());
    }

    #[test]
    fn a_secrets_text_is_decoded_and_never_repeated_in_an_error() {
        assert_eq!(b64decode("c2VzYW1l").unwrap(), "sesame");
        let error = b64decode("not base64, but secret").unwrap_err().to_string();
        assert!(
            error.contains("base64") && !error.contains("but secret"),
            "{error}"
        );
        assert!(b64decode("/w==").is_err());
    }
}
