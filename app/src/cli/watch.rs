//! `status --watch`: the screen of `status`, kept up to date, with the last events.
//!
//! One thread asks once a second, with the deadlines that every question has; the screen goes on and
//! keys are answered meanwhile. What is drawn is a pure function of what is known (`draw`).

mod draw;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use app_api::v1::{Explanation, Status};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use reqwest::Method;

use super::BadInput;
use super::client::{Answer, Connect, ask};
use super::operate::escape;
use draw::{Look, View};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at keys and answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Answers that may wait for the screen; it takes them ten times a second.
const ANSWERS_MAX: usize = 8;

/// What the asking thread tells.
enum News {
    Status(Box<Status>),
    Explained(Box<Explanation>),
    Failed(String),
}

/// Draws until a key ends it.
///
/// # Errors
/// No terminal to draw on; the terminal's own.
pub fn run(connect: &Connect) -> Result<u8> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let why =
            "status --watch needs a terminal on standard input and output; without --watch it prints once";
        return Err(BadInput(why.into()).into());
    }
    let selected = Arc::new(AtomicUsize::new(0));
    let (tell, news) = sync_channel(ANSWERS_MAX);
    let (connect, follows) = (connect.clone(), selected.clone());
    // What cannot be answered at all (no configuration, no certificate) is said before the screen is taken.
    let first = ask::<Status>(&connect, Method::GET, "/v1/status", None)?;
    std::thread::spawn(move || ask_on(&connect, &follows, first, &tell));
    let mut terminal = ratatui::try_init().context("take the terminal")?;
    let outcome = show(&mut terminal, &news, &selected);
    ratatui::restore();
    outcome.map(|()| 0)
}

/// Asks until nobody listens.
fn ask_on(connect: &Connect, selected: &AtomicUsize, first: Answer<Status>, tell: &SyncSender<News>) {
    let mut answer = Ok(first);
    loop {
        let asked = Instant::now();
        let mut told = Vec::new();
        match answer {
            Ok(Answer::Ok(status)) => {
                let group = status.groups.get(selected.load(Ordering::Relaxed)).map(|g| g.name.clone());
                told.push(News::Status(Box::new(status)));
                let path = group.map(|g| format!("/v1/groups/{}/explain", escape(&g)));
                let explained = path.map(|p| ask::<Explanation>(connect, Method::GET, &p, None));
                if let Some(Ok(Answer::Ok(explanation))) = explained {
                    told.push(News::Explained(Box::new(explanation)));
                }
            }
            Ok(Answer::Problem(problem)) => told.push(News::Failed(problem.title)),
            Err(error) => told.push(News::Failed(format!("{error:#}"))),
        }
        for news in told {
            if tell.send(news).is_err() {
                return;
            }
        }
        std::thread::sleep(ASK_EVERY.saturating_sub(asked.elapsed()));
        answer = ask::<Status>(connect, Method::GET, "/v1/status", None);
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    news: &Receiver<News>,
    selected: &AtomicUsize,
) -> Result<()> {
    let look = if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
        Look::Plain
    } else {
        Look::Coloured
    };
    let mut view = View::default();
    let mut heard = Instant::now();
    loop {
        for told in news.try_iter() {
            match told {
                News::Status(status) => {
                    heard = Instant::now();
                    view.take_status(*status);
                }
                News::Explained(explanation) => view.take_explanation(*explanation),
                News::Failed(why) => view.failed = Some(why),
            }
        }
        view.age = heard.elapsed();
        view.now_ms = crate::clock::wall().0;
        view.selected = selected.load(Ordering::Relaxed);
        terminal.draw(|frame| draw::draw(frame, &view, look)).context("draw")?;
        if !event::poll(LOOK_EVERY).context("read keys")? {
            continue;
        }
        let Event::Key(key) = event::read().context("read keys")? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let groups = view.groups();
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Down | KeyCode::Tab if groups > 0 => {
                selected.store((view.selected + 1) % groups, Ordering::Relaxed);
            }
            KeyCode::Up | KeyCode::BackTab if groups > 0 => {
                selected.store((view.selected + groups - 1) % groups, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
