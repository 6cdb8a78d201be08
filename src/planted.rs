//! Bugs that can be planted on purpose: a simulator that cannot fail proves nothing.
//!
//! Each is one that somebody could really write. They exist in builds with debug assertions only, and only on a thread
//! that asked for one; in a release build `is` is always false and the compiler removes it.

/// A bug that the simulator must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// In Welcome the hub claims one event more than it has applied.
    AckBeyondApplied,
    /// After a lost link the plugin does not send again what was on its way.
    OutboxForgetsInFlight,
    /// A state is applied although a newer one is known.
    StaleStateApplied,
    /// The end of an old session counts as that of the present one.
    NoFencing,
    /// Two creates of one pod run side by side in the plugin.
    CreatesNotJoined,
    /// A delete for an absent plugin is answered with success and not kept.
    DeleteNotKept,
    /// A kept delete is not written down.
    DeleteNotRecorded,
    /// A create that was promised is not written down.
    CreateNotRecorded,
    /// What was given up is not deleted when it comes through late.
    GivenUpNotDeleted,
    /// A log is opened again at its beginning instead of where it was.
    LogResumedAtStart,
    /// Credit of a log reader is not given back.
    CreditNotReturned,
    /// A log stream's place in the count is never given back.
    LogSlotLeaked,
    /// A create whose outcome is unknown counts as refused.
    UnknownIsRefused,
    /// The hub acknowledges events before they are on its disk.
    EarlyAck,
    /// The plugin sends before it has processed Welcome.
    SendBeforeWelcome,
    /// The end of a log overtakes its chunks.
    EndBeforeChunks,
    /// A log is opened again at its offset, in the epoch of another run.
    OffsetOfOtherEpoch,
    /// A create is sent although its pod was deleted meanwhile.
    CreateAfterDelete,
    /// The plugin sends an event before it is on its disk.
    EventBeforeDurable,
    /// The plugin does not write down that it is about to submit.
    SubmitNotRecorded,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::AckBeyondApplied,
        Self::OutboxForgetsInFlight,
        Self::StaleStateApplied,
        Self::NoFencing,
        Self::CreatesNotJoined,
        Self::DeleteNotKept,
        Self::DeleteNotRecorded,
        Self::CreateNotRecorded,
        Self::GivenUpNotDeleted,
        Self::LogResumedAtStart,
        Self::CreditNotReturned,
        Self::LogSlotLeaked,
        Self::UnknownIsRefused,
        Self::EarlyAck,
        Self::SendBeforeWelcome,
        Self::EndBeforeChunks,
        Self::OffsetOfOtherEpoch,
        Self::CreateAfterDelete,
        Self::EventBeforeDurable,
        Self::SubmitNotRecorded,
    ];
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or removes it. Does nothing in a release build.
pub fn plant(bug: Option<Bug>) {
    #[cfg(debug_assertions)]
    PLANTED.set(bug);
    #[cfg(not(debug_assertions))]
    let _ = bug;
}

/// Whether this bug is planted here.
#[allow(dead_code)]
#[inline]
pub(crate) fn is(bug: Bug) -> bool {
    #[cfg(debug_assertions)]
    return PLANTED.get() == Some(bug);
    #[cfg(not(debug_assertions))]
    {
        let _ = bug;
        false
    }
}
