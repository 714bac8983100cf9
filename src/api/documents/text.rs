//! Doc comments as the documents say them.

/// The first sentence, without its full stop: a title.
pub(super) fn summary(description: &str) -> String {
    let end = description.find(". ").or_else(|| description.find(".\n")).unwrap_or(description.len());
    let first = description.get(..end).unwrap_or(description);
    first.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// Lines that were broken for the source made whole again; paragraphs and lists stay.
pub(super) fn unwrapped(description: &str) -> String {
    let mut text = String::new();
    for line in description.lines().map(str::trim_end) {
        let begins = line.is_empty() || line.trim_start().starts_with(['-', '*', '#', '|']);
        let broken = begins || text.is_empty() || text.ends_with('\n');
        text.push_str(match (broken, text.is_empty()) {
            (true, true) => "",
            (true, false) => "\n",
            (false, _) => " ",
        });
        text.push_str(line);
    }
    text
}
