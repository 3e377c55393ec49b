//! JSON objects for output: on one line, the fields in the order in which they were put in.

use serde_json::Value;

use super::output::is_unprintable;

/// One object, with `"schema":1` in front.
#[derive(Clone, Debug)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{\"schema\":1".to_owned())
    }

    /// Adds a field.
    pub(super) fn with(self, key: &str, value: impl Into<Value>) -> Self {
        let value: Value = value.into();
        self.with_json(key, &value.to_string())
    }

    /// Adds a field whose value is JSON already.
    pub(super) fn with_json(mut self, key: &str, json: &str) -> Self {
        self.0.push_str(&format!(",{}:{json}", Value::from(key)));
        self
    }

    /// The object as text. No character in it does anything to a terminal: those can only stand in strings, where they are
    /// escaped.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len() + 1);
        for c in self.0.chars() {
            match is_unprintable(c) {
                true => text.extend(
                    c.encode_utf16(&mut [0; 2])
                        .iter()
                        .map(|unit| format!("\\u{unit:04x}")),
                ),
                false => text.push(c),
            }
        }
        text.push('}');
        text
    }
}

/// Several objects as one array.
pub(super) fn array(objects: &[Object]) -> String {
    let objects: Vec<String> = objects.iter().map(Object::text).collect();
    format!("[{}]", objects.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_object_commands_a_terminal_and_it_reads_back() {
        let nasty = "\u{1b}[2J \u{9b}2J \u{202e} \u{7f} \n \"\\";
        let text = Object::new().with("reason", nasty).text();
        assert!(!text.chars().any(is_unprintable), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["reason"], nasty);
        assert_eq!(value["schema"], 1);
    }
}
