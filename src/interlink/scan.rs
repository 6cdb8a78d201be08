//! A quick look at JSON text: what is in an object, and where each value ends, in one pass and without memory.
//!
//! It takes less than JSON allows: None stands for "not sure". What is taken is JSON that a tree of values takes too, with no
//! nesting beyond its depth, no number beyond its range, no escape that is half a character. Whoever gets None reads the
//! long way, which also says what is wrong.

/// Deepest nesting that is taken, in levels below where the look begins. A tree refuses 128 in all.
const MAX_DEPTH: u32 = 100;
/// Longest number that surely fits, in bytes.
const MAX_NUMBER: usize = 30;

/// Whether the whole text is one value that is taken.
pub(super) fn is_plain(text: &[u8]) -> bool {
    whole(text, |at| Some(((), value(text, at)?))).is_some()
}

/// Reads a text that is one value: `read` gets where that begins, and gives it with where it ends.
pub(super) fn whole<T>(text: &[u8], read: impl FnOnce(usize) -> Option<(T, usize)>) -> Option<T> {
    let (value, end) = read(blank(text, 0))?;
    (blank(text, end) == text.len()).then_some(value)
}

/// Goes through the object that begins at `at`: `each` gets a key and where its value begins, and gives where that ends.
/// Gives where the object ends. None for a key with an escape: it may be another key in other words.
pub(super) fn object<'t>(
    text: &'t [u8],
    at: usize,
    mut each: impl FnMut(&'t [u8], usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = blank(text, after(text, at, b'{')?);
    if text.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let (key, end) = simple(text, at)?;
        at = each(key, blank(text, after(text, blank(text, end), b':')?))?;
        at = blank(text, at);
        match text.get(at)? {
            b',' => at = blank(text, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Goes through the list that begins at `at`: `each` gets where an item begins, and gives where it ends.
pub(super) fn list(text: &[u8], at: usize, mut each: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
    let mut at = blank(text, after(text, at, b'[')?);
    if text.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = blank(text, each(at)?);
        match text.get(at)? {
            b',' => at = blank(text, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The text in quotes that begins at `at`, and where it ends. None when it has an escape.
pub(super) fn simple(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let start = after(text, at, b'"')?;
    let end = plain_run(text, start);
    (text.get(end) == Some(&b'"')).then(|| (&text[start..end], end + 1))
}

/// Where the text in quotes ends that begins at `at`.
#[inline(always)]
pub(super) fn string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = after(text, at, b'"')?;
    loop {
        at = plain_run(text, at);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(text, at + 1)?,
            _ => return None,
        }
    }
}

/// Where `null` ends, if that begins at `at`.
pub(super) fn null(text: &[u8], at: usize) -> Option<usize> {
    word(text, at, b"null")
}

/// Where the value ends that begins at `at`, whatever it is.
pub(super) fn value(text: &[u8], mut at: usize) -> Option<usize> {
    // A bit for each level that is open: 1 for an object. The lowest is the innermost.
    let (mut levels, mut depth) = (0_u128, 0);
    loop {
        if levels & 1 == 1 {
            at = past_key(text, at)?;
        }
        at = match text.get(at)? {
            b'"' => string(text, at)?,
            b'-' | b'0'..=b'9' => number(text, at)?,
            open @ (b'{' | b'[') => {
                let is_object = *open == b'{';
                at = blank(text, at + 1);
                if text.get(at) == Some(if is_object { &b'}' } else { &b']' }) {
                    at + 1
                } else if depth < MAX_DEPTH {
                    depth += 1;
                    levels = levels << 1 | u128::from(is_object);
                    continue;
                } else {
                    return None;
                }
            }
            b't' => word(text, at, b"true")?,
            b'f' => word(text, at, b"false")?,
            b'n' => null(text, at)?,
            _ => return None,
        };
        // A value has ended, and with it perhaps those around it.
        loop {
            if depth == 0 {
                return Some(at);
            }
            let is_object = levels & 1 == 1;
            at = blank(text, at);
            match text.get(at)? {
                b',' => {
                    at = blank(text, at + 1);
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return None,
            }
            at += 1;
            depth -= 1;
            levels >>= 1;
        }
    }
}

/// Where the value of the key begins that begins at `at`.
#[inline(always)]
fn past_key(text: &[u8], at: usize) -> Option<usize> {
    let colon = blank(text, string(text, at)?);
    Some(blank(text, after(text, colon, b':')?))
}

/// Past this byte, if it is at `at`.
#[inline(always)]
fn after(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*text.get(at)? == byte).then_some(at + 1)
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Past what is blank.
#[inline(always)]
fn blank(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// Past the bytes that stand for themselves in a text in quotes. Eight at a time.
#[inline(always)]
fn plain_run(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        // The bit 2 turned over makes the quote a neighbour of the control characters: all that is below 0x21.
        let ends = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let escapes = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        // A byte below what is taken from it shows in its highest bit. Borrows go up: the lowest that is found is one.
        let found = (ends | escapes) & !word & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let stands = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    at + text[at..].iter().take_while(stands).count()
}

/// Past the escape whose backslash is before `at`.
fn escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = text.get(at + 1..at + 5)?;
            // U+D800 to U+DFFF are halves.
            let half = matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
            (!half && digits.iter().all(u8::is_ascii_hexdigit)).then_some(at + 5)
        }
        _ => None,
    }
}

fn number(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + usize::from(text.get(start) == Some(&b'-'));
    let digits = |at: usize| {
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (digits > 0).then_some(at + digits)
    };
    at = if text.get(at) == Some(&b'0') {
        at + 1
    } else {
        digits(at)?
    };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    // A digit after a leading zero is none of JSON, and is seen as what must not come after a number.
    let fits = at - start <= MAX_NUMBER && !matches!(text.get(at), Some(b'e' | b'E'));
    fits.then_some(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<Value>(text).is_ok()
    }

    #[test]
    fn plain_json_is_taken() {
        for good in [
            "0",
            " [ ] ",
            "-0.5",
            "{}",
            "null",
            "\"\"",
            r#"{ "a" : [ 1 , {"b":"\u00e9\n\"\\", "long enough for two words of eight bytes":true} , false ] }"#,
            "{\"é\":\"\u{1F600} and so on, and so on\"}",
        ] {
            assert!(is_json(good) && is_plain(good.as_bytes()), "{good}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(is_plain(deep.as_bytes()));
    }

    #[test]
    fn what_is_not_sure_is_not_taken() {
        let deep = format!("{}{}", "[".repeat(102), "]".repeat(102));
        let many = "9".repeat(31);
        for bad in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e3",
            "+1",
            "nul",
            "nulls",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "[1 2]",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud83d\\ude00\"",
            "\"\n\"",
            "\"eight by\tte\"",
            "1 1",
            "[",
            "[[]",
            "\"a\" \"b\"",
            &deep,
            &many,
        ] {
            assert!(!is_plain(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn every_byte_ends_a_run_or_does_not_wherever_it_is() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut text = [b'x'; 21];
                text[place] = byte;
                text[20] = b'"';
                let ends = matches!(byte, b'"' | b'\\' | 0..0x20);
                assert_eq!(
                    plain_run(&text, 0),
                    if ends { place } else { 20 },
                    "{byte} at {place}"
                );
            }
        }
    }

    #[test]
    fn an_object_and_a_list_are_gone_through() {
        let text = br#"{"a": 1 , "b":[true,"x" ],"c":{}}"#;
        let mut seen = Vec::new();
        let end = object(text, 0, |key, at| {
            let end = value(text, at)?;
            seen.push((key, &text[at..end]));
            Some(end)
        });
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", br#"[true,"x" ]"#), (b"c", b"{}")];
        assert_eq!((end, seen), (Some(text.len()), expected.to_vec()));
        let mut starts = Vec::new();
        let end = list(text, 14, |at| {
            starts.push(at);
            value(text, at)
        });
        assert_eq!((end, starts), (Some(25), vec![15, 20]));
        assert_eq!(object(br#"{"\u0061": 1}"#, 0, |_, at| Some(at + 1)), None);
        assert_eq!(object(br#"{"a": 1"#, 0, |_, at| Some(at + 1)), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_json_that_a_tree_takes(text in r#"[\[\]{}",:0-9eE+.\\ud8antrue\- \n]{0,40}"#) {
            prop_assert!(!is_plain(text.as_bytes()) || is_json(&text), "{}", text);
        }

        #[test]
        fn any_bytes_end(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            if is_plain(&text) && let Ok(text) = std::str::from_utf8(&text) {
                prop_assert!(is_json(text), "{}", text);
            }
        }

        #[test]
        fn texts_and_numbers_are_taken_as_a_tree_takes_them(
            inside in r#"(\\u[dD][0-9a-f]{3}|\\["\\/bnu0]|[a-z" ]|é|\t){0,20}"#, number in r"-?[0-9]{1,3}(\.[0-9]{0,40})?",
        ) {
            let text = format!(r#"{{"a": ["{inside}", {number}]}}"#);
            prop_assert!(!is_plain(text.as_bytes()) || is_json(&text), "{}", text);
            // Halves that make a whole, and long numbers, are all that is left to the tree.
            if is_json(&text) && !text.contains("\\u") && number.len() <= 30 {
                prop_assert!(is_plain(text.as_bytes()), "{}", text);
            }
        }
    }
}
