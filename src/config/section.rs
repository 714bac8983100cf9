//! One table of the file while it is read: its values by key, and what is wrong with them.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use super::values;

/// One table of the file.
pub(super) struct Section<'a, 'p> {
    table: &'a DeTable<'a>,
    /// Where it begins.
    span: Range<usize>,
    problems: &'p mut Problems,
}

impl<'a, 'p> Section<'a, 'p> {
    /// The table that is this value; a problem where it is none.
    pub(super) fn of(value: &'a Spanned<DeValue<'a>>, what: &str, problems: &'p mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self { table, span: value.span(), problems }),
            other => {
                problems.add(value.span(), values::needed(what, other));
                None
            }
        }
    }

    /// Refuses keys that are not among these. `explain` may know more of a key than that it is not allowed.
    pub(super) fn allow(&mut self, name: &str, allowed: &[&str], explain: impl Fn(&str) -> Option<String>) {
        for (key, _) in self.table {
            if allowed.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let message = explain(key.get_ref()).unwrap_or_else(|| unknown(name, key.get_ref(), allowed));
            self.problems.add_key(key.span(), message);
        }
    }

    /// Something is wrong with the whole.
    pub(super) fn refuse(&mut self, message: String) {
        self.problems.add(self.span.clone(), message);
    }

    /// Something is wrong here.
    pub(super) fn refuse_at(&mut self, span: Range<usize>, message: String) {
        self.problems.add(span, message);
    }

    /// The table inside this one that is the value of a key; `None` where it is not there, or a problem.
    pub(super) fn part(&mut self, key: &str, what: &str) -> Option<Section<'a, '_>> {
        Section::of(self.value(key)?, what, self.problems)
    }

    /// Something is wrong with this value.
    pub(super) fn refuse_value(&mut self, key: &str, message: String) {
        let span = self.value(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.problems.add(span, message);
    }

    /// The value of a key is never shown.
    pub(super) fn hide(&mut self, key: &str) {
        if let Some(span) = self.value(key).map(Spanned::span) {
            self.problems.hide(span);
        }
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// The value of a key as something else; `None` where it is not there, or a problem.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(Spanned::new(value.span(), read)),
            Err(reason) => {
                self.problems.add(value.span(), format!("`{key}`: {reason}"));
                None
            }
        }
    }

    /// The value of a key, or what it is where it is not given.
    pub(super) fn read_or<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> T {
        self.read(key, read).map_or(default, Spanned::into_inner)
    }

    /// A list of strings, each read as something else. What is wrong with one does not hide the others.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Spanned<T>>> {
        let value = self.value(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.problems.add(value.span(), format!("`{key}`: {}", values::needed(what, value.get_ref())));
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            match values::text(item.get_ref(), "a string").and_then(&read) {
                Ok(read) => list.push(Spanned::new(item.span(), read)),
                Err(reason) => self.problems.add(item.span(), format!("`{key}`: {reason}")),
            }
        }
        Some(list)
    }

    /// Variables and what they are; empty where none are given. Their values are never shown: they may be secret, also
    /// where a file was expected.
    pub(super) fn variables<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> BTreeMap<String, T> {
        let mut variables = BTreeMap::new();
        let Some(value) = self.value(key) else { return variables };
        self.problems.hide(value.span());
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("a table as `{key} = {{ NAME = \"…\" }}`");
            self.problems.add(value.span(), format!("`{key}`: {}", values::needed(&what, value.get_ref())));
            return variables;
        };
        for (name, value) in table {
            self.problems.hide(value.span());
            if let Err(reason) = values::variable(name.get_ref()) {
                self.problems.add(name.span(), format!("`{key}`: {reason}"));
                continue;
            }
            match values::text(value.get_ref(), "a string").and_then(&read) {
                Ok(read) => drop(variables.insert(name.get_ref().to_string(), read)),
                Err(reason) => self.problems.add(value.span(), format!("`{key}`, {}: {reason}", name.get_ref())),
            }
        }
        variables
    }
}

fn unknown(name: &str, key: &str, allowed: &[&str]) -> String {
    let meant = closest(key, allowed).map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
    let gap = if meant.is_empty() { ";" } else { "" };
    format!("{name} has no key `{}`{meant}{gap} its keys are {}", key.escape_debug(), listed(allowed))
}

/// The name that is close enough to be meant.
pub(super) fn closest<'n>(given: &str, names: &[&'n str]) -> Option<&'n str> {
    let given = given.to_ascii_lowercase().replace('-', "_");
    let far = |name: &str| strsim::osa_distance(&given, &name.to_ascii_lowercase());
    let best = names.iter().copied().min_by_key(|name| far(name))?;
    (far(best) <= best.len().div_ceil(4)).then_some(best)
}

/// `a`, `b`, `c`
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
