//! The sparkline of an hour: inline SVG without styles of its own, since the
//! policy of the pages allows none.

use maud::{Markup, html};

use super::language::{Language, fill};
use super::samples::MINUTES;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;

/// Draws what waited at each minute of the last hour.
pub fn sparkline(hour: &[Option<u64>; MINUTES], now: u64, language: Language) -> Markup {
    let texts = language.texts();
    let known: Vec<(usize, u64)> = hour.iter().enumerate().filter_map(|(at, value)| value.map(|value| (at, value))).collect();
    if known.is_empty() {
        return html! { span.muted { "–" span.hidden { (texts.spark_none) } } };
    }
    let most = known.iter().map(|(_, value)| *value).max().unwrap_or(0).max(now);
    let label = fill(texts.spark_label, &[&language.number(most), &language.number(now)]);
    let x = |at: usize| WIDTH * at as f64 / (MINUTES - 1) as f64;
    // An empty queue is a line at the bottom, and not in the middle.
    let y = |value: u64| HEIGHT - 1.5 - (HEIGHT - 3.0) * value as f64 / most.max(1) as f64;
    let mut line = String::new();
    for (index, (at, value)) in known.iter().enumerate() {
        let connected = index > 0 && known[index - 1].0 + 1 == *at;
        line.push_str(&format!("{}{:.1} {:.1}", if connected { "L" } else { "M" }, x(*at), y(*value)));
    }
    let (last_at, last) = known.last().copied().unwrap_or((0, 0));
    html! {
        svg.spark role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) preserveAspectRatio="none" {
            path.base d={ "M0 " (HEIGHT - 0.5) "H" (WIDTH) } {}
            @if most > 0 { path.area d=(area(&known, &x, &y)) {} }
            path.trend d=(line) {}
            circle.last cx=(format!("{:.1}", x(last_at).min(WIDTH - 2.0))) cy=(format!("{:.1}", y(last))) r="1.8" {}
        }
    }
}

fn area(known: &[(usize, u64)], x: &dyn Fn(usize) -> f64, y: &dyn Fn(u64) -> f64) -> String {
    let mut path = String::new();
    for run in known.chunk_by(|a, b| a.0 + 1 == b.0) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        path.push_str(&format!("M{:.1} {HEIGHT}", x(first.0)));
        for (at, value) in run {
            path.push_str(&format!("L{:.1} {:.1}", x(*at), y(*value)));
        }
        path.push_str(&format!("L{:.1} {HEIGHT}Z", x(last.0)));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_gaps_and_the_label_says_it_in_words() {
        let mut hour = [None; MINUTES];
        assert!(sparkline(&hour, 0, Language::English).into_string().contains("No samples yet"));
        (hour[0], hour[1], hour[58], hour[59]) = (Some(0), Some(1500), Some(10), Some(3));
        let drawn = sparkline(&hour, 3, Language::English).into_string();
        assert!(drawn.contains("at most 1,500, now 3"), "{drawn}");
        assert!(drawn.contains(r#"d="M0.0 22.5L2.0 1.5M118.0 22.4L120.0 22.5""#), "{drawn}");
        assert!(!drawn.contains("style"));
    }
}
