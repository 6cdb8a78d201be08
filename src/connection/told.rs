//! A value that many wait for, woken in the order in which they began to wait.
//!
//! Unlike a watch channel, whose waiters wake in no order: creates that wait for one plugin go out as they came, and
//! the same seed of a simulation gives the same run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value with waiters. Reads clone it.
#[derive(Debug, Default)]
pub(crate) struct Told<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Told<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    /// Changes it and wakes all who wait.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// As it is now.
    pub(crate) fn now(&self) -> T {
        self.lock().clone()
    }

    /// Waits until it is as wanted. Cancel safe.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Entered among the waiters before it is looked at, so that no change goes by unseen.
            changed.as_mut().enable();
            if let Some(now) = self.when(&wanted) {
                return now;
            }
            changed.await;
        }
    }

    fn when(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let now = self.lock();
        wanted(&now).then(|| now.clone())
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // Whole after every change.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn waiters_wake_in_the_order_in_which_they_came() {
        let (told, woken) = (Arc::new(Told::new(0)), Arc::new(Mutex::new(Vec::new())));
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (told, woken) = (told.clone(), woken.clone());
                tokio::spawn(async move {
                    told.wait_for(|value| *value == 2).await;
                    woken.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        told.change(|value| *value = 1);
        tokio::task::yield_now().await;
        told.change(|value| *value = 2);
        for task in tasks {
            task.await.expect("a waiter");
        }
        assert!(
            woken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .copied()
                .eq(0..50)
        );
        assert_eq!(told.now(), 2);
    }
}
