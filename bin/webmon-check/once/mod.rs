//! `webmon-check once`: checks sites and URLs now, and shows where the time went.

mod args;
mod checked;
mod history;
mod line;
mod list;
mod look;
mod page;
mod phases;
mod plan;
mod request;
mod rounds;
mod row;
mod screen;
mod watch;
mod waterfall;
mod words;

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use log::LevelFilter;
use webmon::shutdown::Shutdown;

pub use self::args::{EXAMPLES, OnceArgs};
use self::history::History;
use self::line::Line;
use self::list::{Form, List};
use self::look::Signs;
use self::plan::plan;
use self::rounds::Rounds;
use self::screen::Screen;
use crate::support::args::CommonArgs;
use crate::support::signals;

/// How many sites that were stopped are named.
const NAMED: usize = 8;

pub fn run(common: &CommonArgs, args: &OnceArgs) -> anyhow::Result<ExitCode> {
    // What it does is seen; that it stops is not worth a line in between.
    if log::max_level() == LevelFilter::Info {
        log::set_max_level(LevelFilter::Warn);
    }
    let rounds = Rounds::new(plan(common, args)?, args.parallel.into())?;
    let stop = Shutdown::new();
    signals::stop_on_signals(&stop)?;
    let mut screen = Screen::new(args.color);
    let form = match rounds.sites().len() {
        _ if args.json => Form::Json,
        _ if args.verbose => Form::Pages,
        1 if args.watch.is_none() => Form::Pages,
        _ => Form::Rows,
    };
    let list = List { form, verbose: args.verbose, signs: Signs::of_locale() };
    let told = match args.watch {
        Some(period) => watch::watch(&rounds, period, &stop, &mut screen, &list),
        None => once(&rounds, &stop, &mut screen, &list),
    };
    match told {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads along has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// Returns whether every check succeeded.
fn once(rounds: &Rounds, stop: &Shutdown, screen: &mut Screen, list: &List) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let count = rounds.sites().len();
    let mut total = History::default();
    let mut told = list.begin(count > 1, None);
    let mut open: BTreeSet<usize> = (0..count).collect();
    rounds.round(stop, |result| match result {
        Some((index, checked)) => {
            total.add(&checked.observed.result);
            open.remove(&index);
            told.tell(screen, index, checked)
        }
        None if list.form == Form::Json => Ok(()),
        None => {
            let elapsed = begun.elapsed().as_secs();
            let (done, all) = (total.all(), words::checks(count as u64));
            let next = names(rounds, &open, 1);
            Ok(screen.wait(&format!("{done} of {all} done, {elapsed} s, waiting for {next}"))?)
        }
    })?;
    screen.waited()?;
    told.tell_rest(screen)?;
    if list.form != Form::Json && (count > 1 || !open.is_empty()) {
        let mut line = total.counts();
        let view = list.view(screen);
        let mut lines = vec![Line::new()];
        if !open.is_empty() {
            line.push(look::WARNING, &format!(", {} stopped", open.len()));
            view.hang(&mut lines, "stopped: ", look::WARNING, &names(rounds, &open, NAMED));
        }
        let took = format!(", in {}", words::took(begun.elapsed()));
        if line.width() + took.len() <= view.width {
            line.push(look::DIM, &took);
        }
        lines.push(line.cut(view.width, view.signs.more));
        screen.print(&lines)?;
    }
    Ok(total.success == count as u64)
}

/// The names of the first `most` of these sites, and how many more there are.
fn names(rounds: &Rounds, indices: &BTreeSet<usize>, most: usize) -> String {
    let named = indices.iter().take(most).filter_map(|index| rounds.sites().get(*index));
    // The name of a URL is the URL without secrets.
    let named: Vec<&str> = named.map(|site| site.name.as_str()).collect();
    let more = indices.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
