//! The configuration as it is shipped, with answers in the place of its own values. Pure.

/// The shipped configuration: every key with a comment, those that are not needed behind a `#`.
pub(super) const SHIPPED: &str = include_str!("../../../../../etc/x-msrv.yml");

/// Lines of a configuration, by sections.
pub(super) struct Template {
    lines: Vec<String>,
}

impl Template {
    pub(super) fn shipped() -> Self {
        Self { lines: SHIPPED.lines().map(str::to_owned).collect() }
    }

    /// Takes these sections of adapters into force, and all others out of it; comments stay.
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

    /// Gives a section these keys and no others; those that it has otherwise are put behind a `#`.
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

    /// Sets a key of a section, or of the top level where that is empty. It stands there with another value,
    /// or behind a `#`; else it is added at the end of its section.
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

    /// From the section's own line to the empty one behind it; of the top level, all lines.
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

/// The section that begins with this line, in force or behind a `#`.
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
    fn sections_come_and_go_with_their_comments_left_alone() {
        let mut template = template(TEXT);
        template.only(&["sqlite", "other"]);
        let text = template.text();
        assert!(text.contains("\n#nsq:\n  # Where.\n#  topic: t\n  #channel: c\n#  timeout: 9s\n"), "{text}");
        assert!(text.ends_with("\nsqlite:\n  path: p\n  set: s\n\nother:\n"), "{text}");
    }

    #[test]
    fn a_key_is_set_where_it_is_and_else_at_the_end_of_its_section_and_others_are_out_of_force() {
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
