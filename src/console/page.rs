//! The frame around every page: its head, the bar on top, the login.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, html};

use super::assets::Assets;
use super::language::{Language, fill};
use super::show::csrf;
use super::texts::Texts;
use super::view::Refusal;
use crate::core::time::Moment;

/// Which colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// Returns its word in cookies and in the page.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.word() == word)
    }

    fn name(self, texts: &Texts) -> &'static str {
        match self {
            Self::Auto => texts.theme_auto,
            Self::Light => texts.theme_light,
            Self::Dark => texts.theme_dark,
        }
    }
}

/// What somebody may do, as far as pages differ by it. What is allowed is decided
/// elsewhere; here only what cannot be used is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// May look.
    Viewer,
    /// May act.
    Operator,
    /// Sees and replays what concerns this recipient.
    Vendor(String),
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The name of the token.
    pub name: String,
    /// Its role.
    pub role: Role,
}

impl Who {
    /// Returns whether the role may change anything.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.role == Role::Operator
    }

    /// Returns whether the role may have something sent again.
    #[must_use]
    pub fn may_replay(&self) -> bool {
        matches!(self.role, Role::Operator | Role::Vendor(_))
    }

    /// Returns whether the role sees everything.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        !matches!(self.role, Role::Vendor(_))
    }
}

/// The parts of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What is wrong, and how everything is.
    Overview,
    /// Every recipient.
    Recipients,
    /// Failed deliveries.
    Failures,
    /// Lanes that wait.
    Lanes,
    /// Replays.
    Replays,
    /// Pauses and maintenance windows.
    Maintenance,
    /// Messages that cannot be events.
    Quarantine,
    /// What falls due.
    Gdpr,
    /// What operators did.
    Audit,
    /// None of the above.
    Other,
}

impl Section {
    const ALL: [Self; 9] = [
        Self::Overview,
        Self::Recipients,
        Self::Failures,
        Self::Lanes,
        Self::Replays,
        Self::Maintenance,
        Self::Quarantine,
        Self::Gdpr,
        Self::Audit,
    ];

    fn link(self, texts: &Texts) -> (&'static str, &'static str) {
        match self {
            Self::Overview | Self::Other => ("/console", texts.nav_overview),
            Self::Recipients => ("/console/recipients", texts.nav_recipients),
            Self::Failures => ("/console/failures", texts.nav_failures),
            Self::Lanes => ("/console/lanes", texts.nav_lanes),
            Self::Replays => ("/console/replays", texts.nav_replays),
            Self::Maintenance => ("/console/pauses", texts.nav_maintenance),
            Self::Quarantine => ("/console/quarantine", texts.nav_quarantine),
            Self::Gdpr => ("/console/gdpr", texts.nav_gdpr),
            Self::Audit => ("/console/audit", texts.nav_audit),
        }
    }

    fn is_for(self, who: &Who) -> bool {
        match self {
            Self::Overview | Self::Failures | Self::Lanes | Self::Replays | Self::Maintenance | Self::Other => true,
            Self::Recipients | Self::Quarantine | Self::Gdpr => who.sees_all(),
            Self::Audit => who.may_act(),
        }
    }
}

/// What every page is made with.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The language.
    pub language: Language,
    /// The colors.
    pub theme: Theme,
    /// Who is logged in; nobody before the login.
    pub who: Option<&'a Who>,
    /// The field of every form.
    pub csrf: &'a str,
    /// The address of this page, to come back to.
    pub path: &'a str,
    /// Where the page belongs.
    pub section: Section,
    /// Now.
    pub now: Moment,
    /// The embedded files.
    pub assets: &'a Assets,
    /// What has just been done.
    pub notice: Option<&'static str>,
    /// What recipients are called.
    pub names: &'a BTreeMap<String, String>,
    /// Seconds after which the page is shown again where there is no JavaScript.
    pub reload: Option<u32>,
}

impl Frame<'_> {
    /// Returns the texts in the language of the page.
    #[must_use]
    pub fn texts(&self) -> &'static Texts {
        self.language.texts()
    }

    /// Returns what a recipient is called.
    #[must_use]
    pub fn name_of<'s>(&'s self, recipient: &'s str) -> &'s str {
        self.names.get(recipient).map_or(recipient, String::as_str)
    }

    /// Returns whether the one who looks may change anything.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.who.is_some_and(Who::may_act)
    }

    /// Returns whether the one who looks may have something sent again.
    #[must_use]
    pub fn may_replay(&self) -> bool {
        self.who.is_some_and(Who::may_replay)
    }
}

/// htmx without what the policy forbids: it adds no styles and evaluates nothing. A
/// broker that hangs is noticed after eight seconds.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,"historyEnabled":false,"allowScriptTags":false,"timeout":8000}"#;

/// Returns a whole page.
#[must_use]
pub fn page(frame: &Frame<'_>, title: &str, content: &Markup) -> String {
    let texts = frame.texts();
    let markup = html! {
        (DOCTYPE)
        html lang=(frame.language.code()) data-theme=(frame.theme.word()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="htmx-config" content=(HTMX);
                title { (title) " · " (texts.brand) }
                link rel="icon" type="image/svg+xml" href=(frame.assets.icon());
                link rel="stylesheet" href=(frame.assets.style());
                script src=(frame.assets.htmx()) defer {}
                script src=(frame.assets.script()) defer {}
                @if let Some(seconds) = frame.reload {
                    noscript { meta http-equiv="refresh" content=(seconds); }
                }
            }
            body {
                a.skip href="#content" { (texts.skip) }
                (top(frame))
                main #content tabindex="-1" {
                    // There from the beginning, or what comes into it would not be read out.
                    div #stale role="alert" data-silent=(texts.stale_silent) data-refused=(texts.stale_refused) {}
                    @if let Some(notice) = frame.notice { p.notice.good role="status" { (notice) } }
                    (content)
                }
            }
        }
    };
    markup.into_string()
}

fn top(frame: &Frame<'_>) -> Markup {
    let texts = frame.texts();
    html! {
        header.top {
            div.bar {
                a.brand href="/console" {
                    svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true" {
                        path.line d="M3 6h6l4 5h6M3 16h6l4-5" {}
                        circle.dot cx="3.5" cy="6" r="2.2" {}
                        circle.dot cx="3.5" cy="16" r="2.2" {}
                        circle.dot cx="18.5" cy="11" r="2.2" {}
                    }
                    span { (texts.brand) }
                }
                @if frame.who.is_some() {
                    form.search method="post" action="/console/search" role="search" {
                        (csrf(frame))
                        label.hidden for="search" { (texts.search_label) }
                        input #search type="search" name="id" placeholder=(texts.search_label) autocomplete="off" maxlength="300";
                        button type="submit" { (texts.search_button) }
                    }
                }
                (look(frame))
                @if let Some(who) = frame.who {
                    form.who method="post" action="/console/logout" {
                        (csrf(frame))
                        span { strong { (who.name) } " " span.muted { (role(texts, &who.role)) } }
                        button.quiet type="submit" { (texts.logout) }
                    }
                }
            }
            @if let Some(who) = frame.who {
                nav.sections aria-label=(texts.menu) {
                    ul {
                        @for section in Section::ALL.into_iter().filter(|section| section.is_for(who)) {
                            @let (path, name) = section.link(texts);
                            li { a href=(path) aria-current=[(section == frame.section).then_some("page")] { (name) } }
                        }
                    }
                }
            }
        }
    }
}

fn role(texts: &Texts, role: &Role) -> String {
    match role {
        Role::Viewer => texts.role_viewer.to_owned(),
        Role::Operator => texts.role_operator.to_owned(),
        Role::Vendor(recipient) => fill(texts.role_vendor, &[recipient]),
    }
}

/// Language and colors: a form, so that it needs no JavaScript.
fn look(frame: &Frame<'_>) -> Markup {
    let texts = frame.texts();
    html! {
        details.look {
            summary { span lang=(frame.language.code()) { (frame.language.code().to_uppercase()) } span.hidden { ": " (texts.language) ", " (texts.theme) } }
            form method="post" action="/console/look" {
                input type="hidden" name="back" value=(frame.path);
                fieldset {
                    legend { (texts.language) }
                    @for language in Language::ALL {
                        label { input type="radio" name="language" value=(language.code()) checked[language == frame.language]; span lang=(language.code()) { (language.name()) } }
                    }
                }
                fieldset {
                    legend { (texts.theme) }
                    @for theme in Theme::ALL {
                        label { input type="radio" name="theme" value=(theme.word()) checked[theme == frame.theme]; (theme.name(texts)) }
                    }
                }
                button type="submit" { (texts.apply) }
            }
        }
    }
}

/// The page that asks for a token.
#[must_use]
pub fn login(frame: &Frame<'_>, wrong: Option<&str>) -> String {
    let texts = frame.texts();
    let content = html! {
        div.login {
            h1 { (texts.login_title) }
            p { (texts.login_intro) }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" #wrong { (wrong) } }
            form method="post" action="/console/login" {
                label for="token" { (texts.login_token) }
                // Whoever keeps passwords for people asks for a name as well.
                input type="text" name="name" value="wsb" autocomplete="username" hidden;
                input #token type="password" name="token" required autocomplete="current-password" autofocus
                    aria-describedby=[wrong.map(|_| "wrong")] aria-invalid=[wrong.map(|_| "true")];
                button.primary type="submit" { (texts.login_button) }
            }
        }
    };
    page(frame, texts.login_title, &content)
}

/// Words of the broker's: in the language of the page where that has them, and else
/// said to be English.
fn said(frame: &Frame<'_>, words: &str) -> Markup {
    let meaning = frame.texts().words.iter().find(|(known, _)| *known == words);
    html! { @match meaning { Some((_, meaning)) => { (meaning) } None => { span lang="en" { (words) } } } }
}

/// The page of something that did not work.
#[must_use]
pub fn refused(frame: &Frame<'_>, refusal: &Refusal) -> String {
    let texts = frame.texts();
    let what = match refusal.status {
        401 | 403 => texts.error_forbidden,
        404 => texts.error_not_found,
        500.. => texts.error_later,
        _ => texts.error_refused,
    };
    let content = html! {
        h1 { (texts.error_title) }
        div.notice.bad role="alert" {
            p { (what) }
            @if !refusal.title.is_empty() {
                p.muted { (texts.error_said) " " (said(frame, &refusal.title)) @if let Some(detail) = &refusal.detail { " – " (said(frame, detail)) } }
            }
        }
        p { a href="/console" { (texts.back) } }
    };
    page(frame, texts.error_title, &content)
}
