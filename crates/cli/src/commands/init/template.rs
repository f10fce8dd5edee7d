//! The shipped configuration with its values replaced by answers. Pure.

/// The shipped configuration: every key with a comment; keys that are not needed are commented out.
pub(super) const SHIPPED: &str = include_str!("../../../../../etc/x-msrv.yml");

/// The lines of a configuration.
pub(super) struct Template {
    lines: Vec<String>,
}

impl Template {
    pub(super) fn shipped() -> Self {
        Self { lines: SHIPPED.lines().map(str::to_owned).collect() }
    }

    /// Activates these sections of adapters and comments out all others; comments stay.
    pub(super) fn only(&mut self, sections: &[&str]) {
        for line in 0..self.lines.len() {
            let Some(name) = section_of(&self.lines[line]).map(str::to_owned) else { continue };
            for line in self.section(&name) {
                if sections.contains(&&*name) {
                    if let Some(key) = line.strip_prefix('#') {
                        *line = key.to_owned();
                    }
                } else if !line.trim_start().starts_with('#') {
                    line.insert(0, '#');
                }
            }
        }
        for section in sections {
            if !self.lines.iter().any(|line| section_of(line) == Some(section)) {
                self.lines.extend([String::new(), format!("{section}:")]);
            }
        }
    }

    /// Sets these keys of a section and comments out its other keys.
    pub(super) fn set_section(&mut self, section: &str, keys: &[(&str, String)]) {
        for line in self.section(section).iter_mut().skip(1) {
            let key = line.trim_start();
            let is_set =
                keys.iter().any(|(name, _)| key.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
            if !key.starts_with('#') && !is_set {
                let indent = line.len() - key.len();
                line.insert(indent, '#');
            }
        }
        for (key, value) in keys {
            self.set(section, key, value);
        }
    }

    /// Sets a key of a section, or of the top level if `section` is empty. Replaces an existing line, also
    /// one that is commented out; otherwise adds the key at the end of the section.
    pub(super) fn set(&mut self, section: &str, key: &str, value: &str) {
        let indent = if section.is_empty() { "" } else { "  " };
        let new = format!("{indent}{key}: {value}");
        if let Some(at) = self.find(section, key) {
            self.lines[at] = new;
        } else {
            let end = self.bounds(section).end;
            self.lines.insert(end, new);
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }

    fn find(&self, section: &str, key: &str) -> Option<usize> {
        let is_key = |line: &str| {
            line.trim_start().trim_start_matches('#').trim_start().starts_with(&format!("{key}:"))
        };
        let is_inside = |line: &str| section.is_empty() != line.trim_start_matches('#').starts_with("  ");
        self.bounds(section).find(|at| is_key(&self.lines[*at]) && is_inside(&self.lines[*at]))
    }

    fn section(&mut self, section: &str) -> &mut [String] {
        let bounds = self.bounds(section);
        &mut self.lines[bounds]
    }

    /// Returns the lines from the name of the section to the next empty line; for the top level, all lines.
    fn bounds(&self, section: &str) -> std::ops::Range<usize> {
        if section.is_empty() {
            return 0..self.lines.len();
        }
        let starts = |line: &String| line.trim_start_matches('#').starts_with(&format!("{section}:"));
        let from = self.lines.iter().position(starts).expect("the shipped configuration has every section");
        let length = self.lines[from..].iter().position(String::is_empty).unwrap_or(self.lines.len() - from);
        from..from + length
    }
}

/// Returns the section that begins with this line, active or commented out.
fn section_of(line: &str) -> Option<&str> {
    let name = line.trim_start_matches('#').strip_suffix(':')?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template { lines: text.lines().map(str::to_owned).collect() }
    }

    const TEXT: &str = "# Top.\ntimeout: 2s\n#period: 10s\n\nnsq:\n  # Where.\n  topic: t\n  #channel: c\n  timeout: 9s\n\n#sqlite:\n#  path: p\n#  set: s\n";

    #[test]
    fn sections_are_switched_without_changing_their_comments() {
        let mut template = template(TEXT);
        template.only(&["sqlite", "other"]);
        let text = template.text();
        assert!(text.contains("\n#nsq:\n  # Where.\n#  topic: t\n  #channel: c\n#  timeout: 9s\n"), "{text}");
        assert!(text.ends_with("\nsqlite:\n  path: p\n  set: s\n\nother:\n"), "{text}");
    }

    #[test]
    fn a_key_is_set_in_place_or_at_the_end_of_its_section_and_others_are_commented_out() {
        let mut template = template(TEXT);
        template.set("", "period", "1m");
        template.set("", "timeout", "3s");
        let keys =
            [("topic", "u".to_owned()), ("channel", "\"x\"".to_owned()), ("max-messages", "7".to_owned())];
        template.set_section("nsq", &keys);
        let text = template.text();
        assert!(text.starts_with("# Top.\ntimeout: 3s\nperiod: 1m\n\n"), "{text}");
        assert!(
            text.contains("  topic: u\n  channel: \"x\"\n  #timeout: 9s\n  max-messages: 7\n\n"),
            "{text}"
        );
    }
}
