//! What is drawn. Every row bears a mark and says its matter in words; colour only repeats them, so
//! that the screen tells the same without colours and to whoever does not see them.

use std::time::Duration;

use app_api::v1::{EventLine, Explanation, GroupStatus, ServerStatus, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::cli::show::{self, Seen};

/// An answer older than this is no answer.
const STALE: Duration = Duration::from_secs(3);
/// Blocks of the lease's bar.
const BAR: usize = 16;
/// Columns before a row's text.
const LABEL: usize = 11;
/// Below this width labels have no column of their own.
const NARROW: usize = 60;

/// With colours or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Coloured,
    Plain,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct View {
    status: Option<Status>,
    events: Vec<EventLine>,
    /// Which group is shown whole.
    pub selected: usize,
    /// Why the last question has no answer.
    pub failed: Option<String>,
    /// Since the last answer.
    pub age: Duration,
    /// The wall clock here.
    pub now_ms: i64,
    /// The longest lease seen: a full bar.
    lease_max_ms: u64,
}

impl View {
    pub fn take_status(&mut self, status: Status) {
        let leases = status.groups.iter().filter_map(|g| g.lease_left_ms);
        self.lease_max_ms = leases.chain([self.lease_max_ms]).max().unwrap_or(0);
        self.status = Some(status);
        self.failed = None;
    }

    pub fn take_explanation(&mut self, explanation: Explanation) {
        self.events = explanation.events;
    }

    pub fn groups(&self) -> usize {
        self.status.as_ref().map_or(0, |s| s.groups.len())
    }
}

/// How a row is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Note,
    Bad,
    Still,
    Title,
}

struct Row {
    tone: Tone,
    label: String,
    text: String,
}

fn row(tone: Tone, label: impl Into<String>, text: impl Into<String>) -> Row {
    Row { tone, label: label.into(), text: text.into() }
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, view: &View, look: Look) {
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    let (width, height) = (usize::from(body.width), usize::from(body.height));
    let mut lines: Vec<Line> = rows(view).iter().flat_map(|r| lines_of(r, width, look)).collect();
    let room = height.saturating_sub(lines.len());
    if lines.len() > height {
        let hidden = lines.len() - height + 1;
        lines.truncate(height.saturating_sub(1));
        let more = row(Tone::Note, "", format!("{hidden} more lines: a taller window shows them"));
        lines.extend(lines_of(&more, width, look).into_iter().take(1));
    } else if room > 2 && !view.events.is_empty() {
        lines.extend(lines_of(&row(Tone::Title, "last events", ""), width, look));
        let events = view.events.iter().map(|e| {
            let time = show::time(e.at_ms);
            row(Tone::Still, "", format!("{}  {}", time.get(11..19).unwrap_or(&time), e.text))
        });
        let all: Vec<Line> = events.flat_map(|r| lines_of(&r, width, look)).collect();
        let from = all.len().saturating_sub(room - 1);
        lines.extend(all.into_iter().skip(from));
    }
    frame.render_widget(Paragraph::new(lines), body);
    let keys = if view.groups() > 1 { "q quit   up/down another group" } else { "q quit" };
    frame.render_widget(Paragraph::new(keys).style(style(Tone::Still, look)), foot);
}

fn rows(view: &View) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(why) = &view.failed {
        rows.push(row(Tone::Bad, "no answer", format!("for {} s: {why}", view.age.as_secs())));
    } else if view.age > STALE {
        rows.push(row(Tone::Bad, "no answer", format!("for {} s; it is being asked", view.age.as_secs())));
    }
    let Some(s) = &view.status else {
        if rows.is_empty() {
            rows.push(row(Tone::Note, "asking", "the cluster's nodes"));
        }
        return rows;
    };
    let known = view.age <= STALE && view.failed.is_none();
    let age_ms = if known { 0 } else { u64::try_from(view.age.as_millis()).unwrap_or(u64::MAX) };
    let seen = Seen::of(s.quorum && known, s.confirmed_ms.map(|ms| ms.saturating_add(age_ms)));
    cluster(&mut rows, s, seen);
    rows.extend(s.break_glass.iter().map(|alarm| row(Tone::Bad, "glass", show::break_glass(alarm))));
    for (index, g) in s.groups.iter().enumerate() {
        if index == view.selected || s.groups.len() == 1 {
            group(&mut rows, g, seen, view);
        } else {
            let (tone, state) = state(g, seen, view.now_ms);
            rows.push(row(Tone::Title, format!("group {}", g.name), ""));
            rows.push(row(tone, "", state));
        }
    }
    if s.groups.is_empty() {
        rows.push(row(Tone::Note, "", "no groups are known yet: the cluster has not been founded"));
    }
    // What was well when it was last heard need not be well now.
    for row in rows.iter_mut().filter(|r| !known && r.tone == Tone::Good) {
        row.tone = Tone::Still;
    }
    rows
}

fn cluster(rows: &mut Vec<Row>, s: &Status, seen: Seen) {
    let up = s.nodes.iter().filter(|n| n.up).count();
    let quorum = if s.quorum { "quorum" } else { "NO QUORUM" };
    let tone = match (s.quorum, up == s.nodes.len()) {
        (true, true) => Tone::Good,
        (true, false) => Tone::Note,
        (false, _) => Tone::Bad,
    };
    let leader = s.leader.as_deref().unwrap_or("none");
    let time = show::time(s.at_ms);
    let at = time.get(11..19).unwrap_or(&time);
    let mark = if s.quorum { seen.mark() } else { String::new() };
    let text = format!("{mark}{quorum}   nodes {up}/{}   leader {leader}   {at} UTC", s.nodes.len());
    rows.push(row(tone, s.cluster.clone(), text));
    if let Some(trouble) = &s.trouble {
        rows.push(row(Tone::Bad, "trouble", format!("{trouble} (answered by {})", s.answered_by)));
    }
    if seen != Seen::Now {
        let text = format!("{}'s own view; the cluster may have moved without it", s.answered_by);
        rows.push(row(Tone::Bad, "", text));
    }
    let mut sites: Vec<&str> = s.nodes.iter().map(|n| n.site.as_str()).collect();
    sites.dedup();
    for site in sites {
        let nodes = s.nodes.iter().filter(|n| n.site == site);
        let words: Vec<String> = nodes.clone().map(show::node).collect();
        let tone = match (nodes.clone().all(|n| n.up), nodes.clone().any(|n| n.via.is_some())) {
            (true, false) => Tone::Good,
            (true, true) => Tone::Note,
            (false, _) => Tone::Bad,
        };
        rows.push(row(tone, site, words.join("  ")));
    }
}

fn state(g: &GroupStatus, seen: Seen, now: i64) -> (Tone, String) {
    let word = show::state(g, seen);
    let tone = match (word.as_str(), seen) {
        ("OPEN", Seen::Now) => Tone::Good,
        ("OPEN", _) => Tone::Note,
        _ => Tone::Bad,
    };
    let since = show::ago(now, g.since_ms);
    (tone, format!("{word}   {}   epoch {}   for {since}", show::place(g), g.epoch))
}

fn group(rows: &mut Vec<Row>, g: &GroupStatus, seen: Seen, view: &View) {
    rows.push(row(Tone::Title, format!("group {}", g.name), ""));
    let (tone, text) = state(g, seen, view.now_ms);
    rows.push(row(tone, "state", text));
    if let Some(why) = &g.shut_because {
        let who = g.primary.as_deref().unwrap_or("its primary");
        rows.push(row(Tone::Bad, "", format!("{who} is not open: {why}")));
    }
    let tone = match g.durability.as_deref() {
        Some("sync") if seen == Seen::Now => Tone::Good,
        Some(_) => Tone::Note,
        None => Tone::Bad,
    };
    rows.push(row(tone, "durability", show::worth(g, seen, view.now_ms)));
    if let Some(left) = g.lease_left_ms {
        let full = usize::try_from(left * BAR as u64 / view.lease_max_ms.max(1)).unwrap_or(BAR).min(BAR);
        let bar = format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full));
        rows.push(row(Tone::Still, "lease", format!("{bar} {left} ms left")));
    } else if g.lease_endless {
        rows.push(row(Tone::Still, "lease", "without end".to_owned()));
    }
    if let Some(m) = &g.maintenance {
        rows.push(row(Tone::Note, "maintenance", show::maintenance(m)));
    }
    let f = &g.failover;
    if f.automatic {
        let to = f.to.as_deref().unwrap_or("nobody");
        rows.push(row(
            Tone::Good,
            "failover",
            format!("READY: {to} would take over, losing nothing acknowledged"),
        ));
    } else {
        rows.push(row(Tone::Note, "failover", format!("NOT READY: {}", f.against.join("; "))));
    }
    let follow = g.names.iter().all(|n| n.site == g.route);
    rows.push(row(if follow { Tone::Good } else { Tone::Note }, "names", show::names(g, seen)));
    if g.diagnosis != "well" {
        rows.push(row(Tone::Bad, "diagnosis", format!("{}: {}", g.diagnosis, g.because.join("; "))));
    }
    if let Some(holds) = &g.holds {
        rows.push(row(Tone::Note, "holds", holds.clone()));
    }
    rows.extend(g.servers.iter().map(server));
    if let Some(e) = &g.execution {
        let since = show::ago(view.now_ms, e.started_ms);
        let text = format!("{} of {} ({}), for {since}", e.runbook, e.subject, e.reason);
        rows.push(row(Tone::Note, "doing", text));
        rows.push(row(Tone::Note, "", show::steps(e)));
    }
    if let Some(last) = g.finished.first() {
        let tone = if last.status == "succeeded" { Tone::Still } else { Tone::Note };
        rows.push(row(tone, "last", show::last(last, view.now_ms)));
    }
}

fn server(s: &ServerStatus) -> Row {
    let tone = match s.role.as_str() {
        "primary" | "acker" | "replica" if s.process == "running" => Tone::Good,
        "fenced" | "candidate" => Tone::Note,
        _ => Tone::Bad,
    };
    let text = show::line(s);
    // Its columns are this screen's rows: what stood apart is parted by commas.
    let parts = text.split("  ").map(str::trim).filter(|p| !p.is_empty()).skip(1);
    row(tone, s.name.clone(), parts.collect::<Vec<_>>().join(", "))
}

fn mark(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "+ ",
        Tone::Note => "! ",
        Tone::Bad => "X ",
        Tone::Still | Tone::Title => "  ",
    }
}

fn style(tone: Tone, look: Look) -> Style {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let plain = match tone {
        Tone::Good => Style::new(),
        Tone::Note | Tone::Title => bold,
        Tone::Bad => bold.add_modifier(Modifier::REVERSED),
        Tone::Still => Style::new().add_modifier(Modifier::DIM),
    };
    // Blue, yellow and red on light and dark differ in brightness too.
    match (look, tone) {
        (Look::Plain, _) | (_, Tone::Still | Tone::Title) => plain,
        (Look::Coloured, Tone::Good) => plain.fg(Color::Cyan),
        (Look::Coloured, Tone::Note) => plain.fg(Color::Yellow),
        (Look::Coloured, Tone::Bad) => plain.fg(Color::Red),
    }
}

/// A row as lines that fit; what goes on is indented.
fn lines_of(row: &Row, width: usize, look: Look) -> Vec<Line<'static>> {
    let style = style(row.tone, look);
    if row.tone == Tone::Title {
        let title = format!("-- {} ", row.label);
        let rule = "-".repeat(width.saturating_sub(title.chars().count()));
        return vec![Line::from(Span::styled(format!("{title}{rule}"), style))];
    }
    // Where columns are dear, a label stands before its text and what goes on is indented a little.
    let narrow = width < NARROW;
    let indent = if narrow { 4 } else { 2 + LABEL };
    let start = match (narrow, row.label.is_empty()) {
        (true, false) => format!("{}{}: ", mark(row.tone), row.label),
        _ => format!("{:<indent$}", format!("{}{}", mark(row.tone), row.label)),
    };
    let taken = start.chars().count();
    let room = width.saturating_sub(indent).max(8);
    // The text is wrapped as if its label were a part of it.
    let filler = "\u{1}".repeat(taken.saturating_sub(indent));
    let texts = wrapped(&format!("{filler}{}", row.text), room);
    let pad = " ".repeat(indent);
    let lines = texts.into_iter().enumerate().map(|(n, text)| match n {
        0 => format!("{start}{}", text.trim_start_matches('\u{1}')),
        _ => format!("{pad}{}", text.trim_start_matches('\u{1}')),
    });
    lines.map(|l| Line::from(Span::styled(l, style))).collect()
}

/// Words on lines of at most `width` columns; a longer word is cut into pieces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let taken = line.chars().count();
        if !line.is_empty() && taken + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn view() -> View {
        let status = include_str!("../../../testdata/status.json");
        let mut view = View { now_ms: 1_700_000_100_000, ..View::default() };
        view.take_status(serde_json::from_str(status).expect("a status"));
        view.events = (0..30)
            .map(|n| EventLine {
                at_ms: 1_700_000_000_000 + n * 1_000,
                name: "step-ended".into(),
                text: format!("execution 4: step {n} ends: done"),
            })
            .collect();
        view
    }

    fn drawn(view: &View, width: u16, height: u16, look: Look) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view, look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(usize::from(width));
        lines.map(|l| l.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
    }

    /// Goal: the screens are what the checked-in ones show. Method: golden files, wide and narrow.
    #[test]
    fn the_screens_are_what_they_were() {
        let mut lost = view();
        lost.failed = Some("no node of the cluster answers".into());
        lost.age = Duration::from_secs(9);
        for (name, view, width, height) in [
            ("wide", view(), 110, 30),
            ("narrow", view(), 44, 50),
            ("short", view(), 80, 10),
            ("lost", lost, 80, 26),
        ] {
            let text = drawn(&view, width, height, Look::Coloured);
            assert_eq!(text, drawn(&view, width, height, Look::Plain), "colour says nothing more");
            let path = format!("{}/testdata/watch-{name}.txt", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "UPDATE_GOLDEN=1 rewrites {path}");
        }
    }

    #[test]
    fn no_word_is_lost_and_no_line_too_long() {
        for width in 8..40 {
            let text = "a lease of pdc-db lasts 1234567890123456789012345678901234567890123 ms or less";
            let lines = wrapped(text, width);
            assert!(lines.iter().all(|l| l.chars().count() <= width), "{lines:?}");
            let squeezed = |s: &str| s.replace(' ', "");
            assert_eq!(squeezed(&lines.concat()), squeezed(text));
        }
    }

    #[test]
    fn before_the_first_answer_it_says_that_it_asks() {
        assert!(drawn(&View::default(), 60, 5, Look::Plain).contains("the cluster's nodes"));
    }
}
