//! The files that pages need, embedded. Each has its content's hash in its
//! address, so that browsers may keep it for good.
//!
//! `htmx-2.0.11.min.js` is htmx (<https://htmx.org>), as published on npm, under
//! the Zero-Clause BSD license beside it. Everything else is our own.

/// A file.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its name in addresses, hash included.
    pub name: String,
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub content: &'static [u8],
}

/// Every file.
#[derive(Debug, Clone)]
pub struct Assets {
    style: Asset,
    script: Asset,
    htmx: Asset,
    icon: Asset,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            style: asset("console", "css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
            script: asset("console", "js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js")),
            htmx: asset("htmx", "js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx-2.0.11.min.js")),
            icon: asset("icon", "svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
        }
    }
}

impl Assets {
    /// Returns the file of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Asset> {
        [&self.style, &self.script, &self.htmx, &self.icon].into_iter().find(|asset| asset.name == name)
    }

    /// Returns the address of the style sheet.
    #[must_use]
    pub fn style(&self) -> String {
        address(&self.style)
    }

    /// Returns the address of our own script.
    #[must_use]
    pub fn script(&self) -> String {
        address(&self.script)
    }

    /// Returns the address of htmx.
    #[must_use]
    pub fn htmx(&self) -> String {
        address(&self.htmx)
    }

    /// Returns the address of the icon.
    #[must_use]
    pub fn icon(&self) -> String {
        address(&self.icon)
    }
}

fn address(asset: &Asset) -> String {
    format!("/console/assets/{}", asset.name)
}

fn asset(name: &str, extension: &str, kind: &'static str, content: &'static [u8]) -> Asset {
    Asset { name: format!("{name}.{:016x}.{extension}", fingerprint(content)), kind, content }
}

/// FNV-1a: tells versions of our own files apart, and protects nothing.
fn fingerprint(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const CSS: &str = include_str!("assets/console.css");

    /// Every variable of the style sheet with its color in light and in dark.
    fn colors() -> BTreeMap<&'static str, (f64, f64)> {
        let line = |line: &'static str| {
            let (name, value) = line.trim().strip_prefix("--")?.split_once(':')?;
            let (light, dark) = value.trim().strip_prefix("light-dark(")?.strip_suffix(");")?.split_once(',')?;
            Some((name, (luminance(light.trim()), luminance(dark.trim()))))
        };
        CSS.lines().filter_map(line).collect()
    }

    /// WCAG 2.2's relative luminance.
    fn luminance(hex: &str) -> f64 {
        let digits = hex.strip_prefix('#').filter(|digits| digits.len() == 6).unwrap_or_else(|| panic!("not #rrggbb: {hex}"));
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    fn ratio(a: f64, b: f64) -> f64 {
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn the_ratio_is_that_of_the_recommendation() {
        assert!((ratio(luminance("#000000"), luminance("#ffffff")) - 21.0).abs() < 0.001);
        assert!((ratio(luminance("#767676"), luminance("#ffffff")) - 4.54).abs() < 0.01);
    }

    /// Text needs 4.5 to 1, what is not text and carries a meaning 3 to 1.
    #[test]
    fn every_pair_of_colors_has_contrast() {
        let colors = colors();
        let grounds = ["ground", "surface", "sunken"];
        let mut pairs: Vec<(&str, &str, f64)> = Vec::new();
        for ground in grounds {
            for text in ["ink", "muted", "accent", "bad", "warn", "good"] {
                pairs.push((text, ground, 4.5));
            }
            pairs.push(("edge", ground, 3.0));
            pairs.push(("focus", ground, 3.0));
            pairs.push(("trend", ground, 3.0));
        }
        for (soft, text) in [("bad-soft", "bad"), ("warn-soft", "warn"), ("good-soft", "good"), ("accent-soft", "accent")] {
            pairs.push((text, soft, 4.5));
            pairs.push(("ink", soft, 4.5));
            pairs.push(("muted", soft, 4.5));
        }
        pairs.push(("on-accent", "accent", 4.5));
        pairs.push(("on-bad", "bad", 4.5));
        let mut used = BTreeSet::new();
        for (front, back, least) in pairs {
            let color = |name: &str| *colors.get(name).unwrap_or_else(|| panic!("the style sheet has no --{name}"));
            let ((front_light, front_dark), (back_light, back_dark)) = (color(front), color(back));
            for (scheme, found) in [("light", ratio(front_light, back_light)), ("dark", ratio(front_dark, back_dark))] {
                assert!(found >= least, "--{front} on --{back}, {scheme}: {found:.2} to 1, and {least} are needed");
            }
            used.extend([front, back]);
        }
        let unchecked: Vec<&&str> = colors.keys().filter(|name| !used.contains(**name) && !["line", "shade"].contains(*name)).collect();
        assert!(unchecked.is_empty(), "colors in no pair: {unchecked:?}");
    }

    /// Otherwise the test above would say nothing.
    #[test]
    fn colors_are_variables() {
        for line in CSS.lines().filter(|line| !line.trim().starts_with("--")) {
            assert!(!line.contains('#') || line.trim().starts_with('#') || line.contains("{"), "a color that is no variable: {line}");
            assert!(!line.contains("rgb(") && !line.contains("rgba("), "a color that is no variable: {line}");
        }
    }

    #[test]
    fn nothing_comes_from_outside() {
        assert!(!CSS.contains("url(") && !CSS.contains("@import") && !CSS.contains("http"));
        assert!(!include_str!("assets/console.js").contains("http"));
        let assets = Assets::default();
        let name = assets.style();
        assert!(assets.find(name.strip_prefix("/console/assets/").expect("below the console")).is_some());
        assert!(assets.find("console.css").is_none());
    }
}
