//! Contenders take turns; each turn is measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{BoxFuture, Latencies, cost};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Turns of each contender that count. An odd number has a median that was measured.
    pub rounds: usize,
    /// How long one turn is to last, about; the number of its requests follows from the warm-up.
    pub turn: Duration,
}

impl Plan {
    /// Five turns of a second each.
    pub const FULL: Self = Self {
        rounds: 5,
        turn: Duration::from_secs(1),
    };
    /// Five short turns.
    pub const QUICK: Self = Self {
        rounds: 5,
        turn: Duration::from_millis(400),
    };
}

/// How many requests, or chunks, a turn makes.
pub type Amount = u64;

/// What a contender's turn gives: what was done, and how long each answer took (none where that is not asked).
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Requests answered, or chunks received: each checked.
    pub units: u64,
    /// Payload bytes moved, where the load is about bytes.
    pub bytes: u64,
    /// Times of the answers.
    pub latencies: Latencies,
}

type Prepare<'a> = Box<dyn FnMut(Amount) -> BoxFuture<'a, anyhow::Result<()>> + Send + 'a>;
type Run<'a> = Box<dyn FnMut(Amount) -> BoxFuture<'a, anyhow::Result<Turn>> + Send + 'a>;

/// One way to carry the load: a client and a server that are up, and how to make `Amount` requests over them.
pub struct Contender<'a> {
    /// Its name in tables.
    pub name: &'static str,
    prepare: Option<Prepare<'a>>,
    run: Run<'a>,
}

impl<'a> Contender<'a> {
    /// A contender. `run` gives an error when any answer is wrong.
    pub fn new<F>(name: &'static str, mut run: impl FnMut(Amount) -> F + Send + 'a) -> Self
    where
        F: Future<Output = anyhow::Result<Turn>> + Send + 'a,
    {
        Self {
            name,
            prepare: None,
            run: Box::new(move |amount| Box::pin(run(amount))),
        }
    }

    /// Does this before each turn, unmeasured.
    #[must_use]
    pub fn preparing<F>(mut self, mut prepare: impl FnMut(Amount) -> F + Send + 'a) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'a,
    {
        self.prepare = Some(Box::new(move |amount| Box::pin(prepare(amount))));
        self
    }

    pub(super) async fn prepare(&mut self, amount: Amount) -> anyhow::Result<()> {
        match &mut self.prepare {
            Some(prepare) => within(amount, prepare(amount)).await,
            None => Ok(()),
        }
    }

    /// One turn, for whoever measures in another way.
    ///
    /// # Errors
    /// The first wrong answer.
    pub async fn turn(&mut self, amount: Amount) -> anyhow::Result<Turn> {
        (self.run)(amount).await
    }
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish()
    }
}

/// One measured turn.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What was done.
    pub turn: Turn,
    /// CPU time of the process meanwhile.
    pub cpu: Duration,
    /// Time on the clock meanwhile.
    pub wall: Duration,
}

impl Sample {
    /// CPU time a unit, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.turn.units.max(1) as f64
    }
}

/// The samples of one contender, one a round.
#[derive(Debug, Clone)]
pub struct Round {
    /// Its name.
    pub name: &'static str,
    /// In the order of the rounds: the same index is the same round for all.
    pub samples: Vec<Sample>,
}

/// A load and who carries it.
#[derive(Debug)]
pub struct Contest<'a> {
    /// What is carried, for tables: `unary c=64`.
    pub load: String,
    contenders: Vec<Contender<'a>>,
}

/// The warm-up stops growing here.
const WARM: Duration = Duration::from_millis(100);
/// The first try of a warm-up.
const FIRST: Amount = 256;
/// A turn that has not ended by then never will: an answer did not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// A turn is never shorter than this many units, however slow they are.
const LEAST: Amount = 64;

impl<'a> Contest<'a> {
    /// A load without contenders.
    pub fn new(load: impl Into<String>) -> Self {
        Self {
            load: load.into(),
            contenders: Vec::new(),
        }
    }

    /// Adds a contender.
    #[must_use]
    pub fn with(mut self, contender: Contender<'a>) -> Self {
        self.contenders.push(contender);
        self
    }

    /// Lets them take turns: each warms up, then rounds of one turn each. `progress` is told what happens.
    ///
    /// # Errors
    /// The first wrong answer, with the contender that gave it.
    pub async fn run(&mut self, plan: Plan, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Vec<Round>> {
        let load = &self.load;
        let mut amounts = Vec::new();
        let mut rounds = Vec::new();
        for contender in &mut self.contenders {
            progress(&format!("{load}: {} warms up", contender.name));
            amounts.push(
                warm_up(contender, plan.turn)
                    .await
                    .with_context(|| wrong(load, contender.name))?,
            );
            rounds.push(Round {
                name: contender.name,
                samples: Vec::new(),
            });
        }
        for number in 1..=plan.rounds {
            for ((contender, amount), round) in self.contenders.iter_mut().zip(&amounts).zip(&mut rounds) {
                progress(&format!(
                    "{load}: round {number} of {}, {}",
                    plan.rounds, contender.name
                ));
                let sample = measure(contender, *amount)
                    .await
                    .with_context(|| wrong(load, contender.name))?;
                round.samples.push(sample);
            }
        }
        Ok(rounds)
    }
}

fn wrong(load: &str, name: &str) -> String {
    format!("{load}: {name}")
}

/// Runs it until it is warm; gives the amount that lasts about one turn.
async fn warm_up(contender: &mut Contender<'_>, turn: Duration) -> anyhow::Result<Amount> {
    let mut amount = FIRST;
    loop {
        contender.prepare(amount).await?;
        let began = Instant::now();
        within(amount, contender.turn(amount)).await?;
        let took = began.elapsed();
        if took >= WARM.min(turn) {
            let fits = amount as f64 * turn.as_secs_f64() / took.as_secs_f64();
            return Ok((fits as Amount).max(LEAST));
        }
        amount *= 4;
    }
}

async fn within<T>(amount: Amount, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{amount} were not done within {PATIENCE:?}"))?
}

async fn measure(contender: &mut Contender<'_>, amount: Amount) -> anyhow::Result<Sample> {
    contender.prepare(amount).await?;
    let (began, before) = (Instant::now(), cost::cpu()?);
    let turn = within(amount, contender.turn(amount)).await?;
    let (cpu, wall) = (cost::cpu()?.saturating_sub(before), began.elapsed());
    ensure!(
        turn.units >= amount,
        "{} of {amount} were done, and the rest not",
        turn.units
    );
    Ok(Sample { turn, cpu, wall })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    const TINY: Plan = Plan {
        rounds: 3,
        turn: Duration::from_micros(1),
    };

    fn done(units: Amount) -> anyhow::Result<Turn> {
        Ok(Turn {
            units,
            ..Turn::default()
        })
    }

    #[tokio::test]
    async fn contenders_take_turns_after_each_has_warmed_up() {
        let order = Mutex::new(String::new());
        let contender = |name: &'static str| {
            let order = &order;
            Contender::new(name, move |amount| {
                order.lock().unwrap().push_str(name);
                async move { done(amount) }
            })
        };
        let mut contest = Contest::new("load").with(contender("a")).with(contender("b"));
        let rounds = contest.run(TINY, &|_| ()).await.unwrap();
        assert!(order.lock().unwrap().ends_with("ababab"), "{order:?}");
        assert_eq!(
            rounds.iter().map(|round| round.samples.len()).collect::<Vec<_>>(),
            [3, 3]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_ends_the_run() {
        let waits = Contender::new("silent", |_| std::future::pending());
        let error = Contest::new("load")
            .with(waits)
            .run(TINY, &|_| ())
            .await
            .unwrap_err();
        assert!(
            format!("{error:#}").starts_with("load: silent: 256 were not done within 60s"),
            "{error:#}"
        );
    }

    #[tokio::test]
    async fn a_wrong_answer_or_a_short_turn_ends_the_run_and_is_named() {
        let lies = Contender::new("liar", |_| async { done(1) });
        let error = Contest::new("load")
            .with(lies)
            .run(TINY, &|_| ())
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("load: liar: 1 of"), "{error:#}");
        let fails = Contender::new("failing", |_| async {
            anyhow::bail!("answer 3 is not the request's")
        });
        let error = Contest::new("load")
            .with(fails)
            .run(TINY, &|_| ())
            .await
            .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "load: failing: answer 3 is not the request's"
        );
    }
}
