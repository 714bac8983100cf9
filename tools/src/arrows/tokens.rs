//! The paths a source file names, read from its tokens.
//!
//! `use std::{fs, io::{self, Read}}` names `std::fs`, `std::io::self` and `std::io::Read`; a lone word is a path of one.
//! Comments and literals hold no words. Paths inside macros count like any others.

use anyhow::anyhow;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path as written, and the line it ends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Named {
    /// Whether `words` stand in it one after the other; `use ::std::fs` holds `std`, `fs` as `std::fs` does.
    pub(super) fn holds(&self, words: &[&str]) -> bool {
        self.path.windows(words.len()).any(|window| window == words)
    }
}

/// Every path in `source`, in order.
///
/// # Errors
/// Where `source` is no Rust.
pub(super) fn paths(source: &str) -> anyhow::Result<Vec<Named>> {
    let stream: TokenStream = source.parse().map_err(|error| anyhow!("is no Rust: {error}"))?;
    let mut named = Vec::new();
    collect(stream, &[], &mut named);
    Ok(named)
}

/// Adds the paths of `stream`, each below `prefix`, which is what stands before the braces of a `use a::{…}`.
fn collect(stream: TokenStream, prefix: &[String], named: &mut Vec<Named>) {
    let mut path: Vec<String> = Vec::new();
    let mut line = 0;
    let mut colons = 0;
    for token in stream {
        match token {
            TokenTree::Ident(word) => {
                if colons != 2 {
                    flush(&mut path, line, named);
                }
                if path.is_empty() {
                    path.extend_from_slice(prefix);
                }
                line = word.span().start().line;
                path.push(word.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
            TokenTree::Group(group) if colons == 2 && group.delimiter() == Delimiter::Brace => {
                collect(group.stream(), &path, named);
                path.clear();
                colons = 0;
            }
            other => {
                flush(&mut path, line, named);
                colons = 0;
                if let TokenTree::Group(group) = other {
                    // The braces of a nested block start afresh; those of a `use` were met above.
                    collect(group.stream(), &[], named);
                }
            }
        }
    }
    flush(&mut path, line, named);
}

fn flush(path: &mut Vec<String>, line: usize, named: &mut Vec<Named>) {
    if !path.is_empty() {
        named.push(Named { path: std::mem::take(path), line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<String> {
        paths(source).unwrap().into_iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn nested_imports_are_whole_paths() {
        assert_eq!(
            names("use std::{fs, io::{self, Read}, time::*};"),
            ["use", "std::fs", "std::io::self", "std::io::Read", "std::time"]
        );
    }

    #[test]
    fn words_are_found_anywhere_in_a_path_and_only_whole() {
        let named = paths("use ::std::fs::File;").unwrap();
        assert!(named.iter().any(|named| named.holds(&["std", "fs"])));
        assert!(!named.iter().any(|named| named.holds(&["std", "File"]) || named.holds(&["f"])));
    }

    #[test]
    fn comments_and_texts_name_nothing() {
        assert_eq!(names("/* std::fs */ // tokio\n x(\"std::net\", r#\"actix::Actor\"#, 'a', b\"sled\")"), ["x"]);
    }

    #[test]
    fn types_calls_and_macros_are_seen() {
        assert_eq!(
            names("fn f(a: std::fs::File) -> B { c!(std::env::var(\"X\")) }"),
            ["fn", "f", "a", "std::fs::File", "B", "c", "std::env::var"]
        );
        assert_eq!(
            names("struct S { time: u64, at: Vec::<u8>::T }"),
            ["struct", "S", "time", "u64", "at", "Vec", "u8", "T"]
        );
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(paths("\n\na::b").unwrap(), [Named { path: vec!["a".into(), "b".into()], line: 3 }]);
        assert!(paths("fn f( {").is_err());
    }
}
