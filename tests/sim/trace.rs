//! What happened, and what must not have.

use std::{
    cell::RefCell,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    sync::Once,
    time::Duration,
};

use tokio::time::Instant;

thread_local! {
    static TRACE: RefCell<Option<Rc<Trace>>> = const { RefCell::new(None) };
}

/// The record of one schedule.
#[derive(Debug)]
pub(crate) struct Trace {
    began: Instant,
    /// Each line is printed at once too (`SIM_LIVE=1`): for a schedule that never ends.
    live: bool,
    lines: RefCell<Vec<(Duration, String)>>,
    wrong: RefCell<Vec<String>>,
}

impl Trace {
    /// Begins a record: from now on this thread writes into it, panics too.
    pub(crate) fn begin() -> Rc<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let here = TRACE.with(|trace| trace.try_borrow().ok().and_then(|trace| trace.clone()));
                match here {
                    Some(trace) => trace.wrong("I6", format!("panic: {info}")),
                    None => usual(info),
                }
            }));
        });
        let trace = Rc::new(Self {
            began: Instant::now(),
            live: std::env::var_os("SIM_LIVE").is_some(),
            lines: RefCell::default(),
            wrong: RefCell::default(),
        });
        TRACE.with(|now| now.replace(Some(trace.clone())));
        trace
    }

    /// Ends the record of this thread.
    pub(crate) fn end() {
        TRACE.with(|now| now.replace(None));
    }

    fn wrong(&self, invariant: &str, what: String) {
        let line = format!("{invariant} violated: {what}");
        self.lines.borrow_mut().push((self.began.elapsed(), line.clone()));
        self.wrong.borrow_mut().push(line);
    }

    /// What was violated.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.wrong.borrow().clone()
    }

    /// The record as text.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.borrow();
        lines
            .iter()
            .map(|(at, line)| format!("{:>10.3}s  {line}\n", at.as_secs_f64()))
            .collect()
    }

    /// The same for the same record.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lines.borrow().hash(&mut hasher);
        hasher.finish()
    }

    /// How many things happened.
    pub(crate) fn len(&self) -> usize {
        self.lines.borrow().len()
    }
}

/// Notes what happened.
pub(crate) fn note(what: impl FnOnce() -> String) {
    TRACE.with(|trace| {
        if let Some(trace) = &*trace.borrow() {
            let line = (trace.began.elapsed(), what());
            if trace.live {
                println!("{:>10.3}s  {}", line.0.as_secs_f64(), line.1);
            }
            trace.lines.borrow_mut().push(line);
        }
    });
}

/// Notes that an invariant of docs/RELIABILITY.md does not hold.
pub(crate) fn violated(invariant: &str, what: String) {
    TRACE.with(|trace| {
        if let Some(trace) = &*trace.borrow() {
            trace.wrong(invariant, what);
        }
    });
}
