//! A run: rounds of faults until the time is over, then the reckoning.
//!
//! In: settings, rounds. Out: a report. Always: what strikes is printed with its moment and what it did; a failed run
//! leaves its evidence.

use std::{sync::Arc, time::Duration};

use carillon_chassis::clock::Clock;
use carillon_testkit::{
    aftermath,
    chaos::{
        Fault, History, Report, Round, Target, check, history::Strike, recovery::recovery, seeded::Step,
    },
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    evidence::Evidence, ground::Ground, load::Load, seeded::refuse_dead_letters, settings::Settings,
};

/// How long the load goes on after the last fault: its aftermath, and some seconds.
const CALM: Duration = Duration::from_secs(12);

/// A running run.
pub(crate) struct Run {
    clock: Clock,
    begun: Instant,
    settings: Settings,
    pub(crate) load: Load,
    evidence: Evidence,
    pub(crate) ground: Ground,
}

impl Run {
    /// Starts the ground and the load; returns when everything flows.
    pub(crate) async fn start(settings: Settings) -> Self {
        println!("{settings}");
        let ground = Ground::start(&settings).await;
        let history = Arc::new(Mutex::new(History::default()));
        let evidence = Evidence::new(&settings, ground.logs(), &history);
        let load = Load::start(&ground, &settings, &history).await;
        let run = Self {
            clock: Clock::system(),
            begun: Instant::now(),
            settings,
            load,
            evidence,
            ground,
        };
        run.load.flows_again(run.clock.unix_ms()).await;
        run
    }

    /// Strikes round after round until the time is over.
    pub(crate) async fn strike_all(&mut self, rounds: impl Iterator<Item = Round>) {
        let end = Instant::now() + self.settings.lasts;
        for round in rounds {
            if Instant::now() >= end {
                break;
            }
            self.strike(&round).await;
        }
        // Whether what is due comes in time shows where nothing is struck.
        sleep(CALM).await;
    }

    /// Goes through a script, step by step.
    pub(crate) async fn perform(&mut self, steps: &[Step]) {
        let mut begun: Vec<Strike> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(time) => sleep(*time).await,
                Step::RefuseDeadLetters(refuse) => refuse_dead_letters(&self.ground.bus(), *refuse).await,
                Step::Begin(fault) => {
                    begun.push(self.begin(fault, false).await);
                    println!("begun: {} {}", fault.action.as_str(), fault.target);
                }
                Step::Undo(fault, alone) => {
                    self.ground.undo(fault).await;
                    println!("undone: {} {}", fault.action.as_str(), fault.target);
                    let at = begun.iter().position(|strike| strike.fault == *fault).unwrap();
                    let now = self.clock.unix_ms();
                    let strike = Strike {
                        alone: *alone,
                        undone: now,
                        until: now,
                        ..begun.remove(at)
                    };
                    self.load.history.lock().strikes.push(strike);
                }
            }
        }
    }

    async fn begin(&mut self, fault: &Fault, alone: bool) -> Strike {
        let at = self.clock.unix_ms();
        if let Some(bad) = self.ground.begin(fault).await {
            println!("{bad}");
            // A router whose store is away ends as late as it may, and says so with its code.
            if alone {
                self.load.history.lock().bad_ends.push(bad);
            }
        }
        Strike {
            fault: *fault,
            alone,
            at,
            undone: 0,
            flowed: 0,
            until: 0,
        }
    }

    /// No group of the routers looks for its next owners any more. That everything flows does not say so: a member that
    /// died while it did gets partitions once more, and is given up only then.
    async fn let_pass(&self, now: u64) {
        let is_router = |strike: &&Strike| matches!(strike.fault.target, Target::Router(_));
        let over = {
            let history = self.load.history.lock();
            history.strikes.iter().filter(is_router).map(Strike::over).max()
        };
        sleep(Duration::from_millis(over.unwrap_or(now).saturating_sub(now))).await;
    }

    async fn strike(&mut self, round: &Round) {
        let after = self.clock.unix_ms();
        for fault in &round.faults {
            self.ground.await_target(fault).await;
        }
        if round.alone {
            self.let_pass(after).await;
            self.ground.ready().await;
            self.load.flows_again(after).await;
        }
        let mut strikes = Vec::new();
        let begun = Instant::now();
        for fault in &round.faults {
            strikes.push(self.begin(fault, round.alone).await);
        }
        strikes.sort_by_key(|strike| strike.fault.lasts);
        for strike in &mut strikes {
            sleep_until(begun + strike.fault.lasts).await;
            self.ground.undo(&strike.fault).await;
            strike.undone = self.clock.unix_ms();
        }
        if round.alone {
            self.ground.ready().await;
            let undone = strikes.iter().map(|strike| strike.undone).max();
            self.load.flows_again(undone.unwrap_or(after)).await;
            let flowed = self.clock.unix_ms();
            strikes.iter_mut().for_each(|strike| strike.flowed = flowed);
        }
        sleep(round.rest).await;
        let until = self.clock.unix_ms();
        let mut history = self.load.history.lock();
        for mut strike in strikes {
            strike.until = until;
            println!("{}", line(&history, &strike));
            history.strikes.push(strike);
        }
        let (faults, accepted) = (history.strikes.len(), history.accepted.len());
        if faults % 10 < round.faults.len() {
            let (frames, foreign) = (history.sightings.len(), history.notes.len());
            let elapsed = self.begun.elapsed().as_secs();
            println!(
                "── {elapsed} s: {faults} faults, {accepted} accepted, {frames} frames, {foreign} notes"
            );
        }
    }

    /// Ends the load, waits for what is on its way, reads what there is to read, and holds it against the rules.
    pub(crate) async fn finish(mut self) -> Report {
        self.ground.ready().await;
        self.load.stop().await;
        let drained = self.load.drained().await;
        let (lag, handled) = aftermath::lag(&self.ground.bus(), &self.ground.group()).await;
        println!("── drained after {drained:.1?}, handled after {handled:.1?} more");
        let moved = aftermath::moved(&self.ground.bus()).await.unwrap();
        self.read_states().await;
        let Self {
            settings,
            load,
            mut evidence,
            ground,
            ..
        } = self;
        // Before the ground goes, and its logs with it.
        let mut report = {
            let mut history = load.history.lock();
            (history.lag, history.moved) = (lag, moved);
            check(&history, &settings.limits)
        };
        if !settings.expect(&report) {
            evidence.keep(&report.to_string());
        }
        let history = Arc::clone(&load.history);
        drop(load);
        let bad = ground.stop().await;
        if !bad.is_empty() {
            let mut history = history.lock();
            history.bad_ends.extend(bad);
            report = check(&history, &settings.limits);
        }
        println!("\nSEED={} {:?}\n{report}", settings.seed, settings.ground);
        report
    }

    async fn read_states(&self) {
        let url = self.ground.ingest_url();
        for (tenant, token) in &self.load.tokens {
            let states = aftermath::states(&url, token, tenant).await.unwrap();
            self.load.history.lock().states.extend(states);
        }
        let unread: Vec<_> = {
            let history = self.load.history.lock();
            let unread = history
                .accepted
                .iter()
                .filter(|a| !history.states.contains_key(&a.id));
            unread
                .map(|a| (history.places[a.place].0.clone(), a.id))
                .collect()
        };
        for (tenant, id) in unread {
            let token = self.load.tokens.iter().find(|(name, _)| *name == tenant);
            let token = token.map(|(_, token)| token.as_str()).unwrap_or_default();
            if let Some(status) = aftermath::state(&url, token, id).await {
                self.load.history.lock().states.insert(id, status);
            }
        }
    }
}

/// A fault in a line: when, what, and what it did where it stood alone.
fn line(history: &History, strike: &Strike) -> String {
    let at = strike.at.saturating_sub(history.load.start) as f64 / 1e3;
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let felt = if strike.alone {
        let felt = recovery(history, strike);
        let (accepted, frames) = (seconds(felt.accepted), seconds(felt.frames));
        format!("alone: {accepted:.1} s without 202, {frames:.1} s without frame")
    } else {
        String::new()
    };
    let fault = strike.fault.to_string();
    let back = seconds(strike.undone - strike.at);
    format!("{at:>8.1} s  {fault:<26} back after {back:>4.1} s  {felt}")
}
