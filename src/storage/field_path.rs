//! Which field an error in a JSON text is about.
//!
//! The JSON reader says line and column; people want `participants[0].artifacts[2].sha256`. The text is walked up to that
//! place, and what is open there is the path.

/// The path of the value at `line` and `column`, both from 1 as the JSON reader counts them; `.` for the whole text.
pub(crate) fn field_path(text: &[u8], line: usize, column: usize) -> String {
    let before: usize = text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let upto = text.get(..before.saturating_add(column).min(text.len())).unwrap_or(text);
    let mut walk = Walk::default();
    upto.iter().for_each(|byte| walk.step(*byte));
    walk.path()
}

/// What is open around a place in a JSON text.
#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    /// The string that is being read, and whether a backslash stands before the next byte.
    string: Option<(Vec<u8>, bool)>,
}

enum Open {
    Array { index: usize },
    Object { key: Option<String>, in_value: bool },
}

impl Walk {
    fn step(&mut self, byte: u8) {
        if let Some((bytes, escaped)) = &mut self.string {
            match (byte, *escaped) {
                (b'"', false) => self.end_string(),
                (b'\\', false) => *escaped = true,
                _ => {
                    *escaped = false;
                    bytes.push(byte);
                }
            }
            return;
        }
        match (byte, self.open.last_mut()) {
            (b'"', _) => self.string = Some((Vec::new(), false)),
            (b'[', _) => self.open.push(Open::Array { index: 0 }),
            (b'{', _) => self.open.push(Open::Object { key: None, in_value: false }),
            (b']' | b'}', _) => drop(self.open.pop()),
            (b',', Some(Open::Array { index })) => *index += 1,
            (b',', Some(Open::Object { in_value, .. })) => *in_value = false,
            (b':', Some(Open::Object { in_value, .. })) => *in_value = true,
            _ => {}
        }
    }

    fn end_string(&mut self) {
        let text = self.string.take().map(|(bytes, _)| String::from_utf8_lossy(&bytes).chars().take(80).collect());
        if let Some(Open::Object { key, in_value: false }) = self.open.last_mut() {
            *key = text;
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match open {
                Open::Array { index } => path.push_str(&format!("[{index}]")),
                Open::Object { key: Some(key), .. } if path.is_empty() => path.push_str(key),
                Open::Object { key: Some(key), .. } => path.push_str(&format!(".{key}")),
                Open::Object { key: None, .. } => {}
            }
        }
        if path.is_empty() { ".".to_owned() } else { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_around_a_place_is_named() {
        let text = br#"{
  "a": 1,
  "list": [ {"x": "y,\"]}"}, {"x": 2, "deep": [[0], [1, "here"]]} ]
}"#;
        let at = |needle: &str| {
            let offset = String::from_utf8_lossy(text).find(needle).unwrap() + needle.len();
            let line = text[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = text[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            field_path(text, line, offset - start)
        };
        assert_eq!(at("1"), "a");
        assert_eq!(at(r#""y,\"]}""#), "list[0].x");
        assert_eq!(at(r#""x": 2"#), "list[1].x");
        assert_eq!(at(r#""here""#), "list[1].deep[1][1]");
        assert_eq!(at("]]}"), "list[1]");
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in ["", "{", "}}}]", "\"\\", "{\"a", "[,,,", "{:,:"] {
            for column in 0..9 {
                field_path(text.as_bytes(), 1, column);
                field_path(text.as_bytes(), 7, column);
            }
        }
        assert_eq!(field_path(b"nonsense", 1, 3), ".");
    }
}
