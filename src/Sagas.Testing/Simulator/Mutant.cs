namespace Sagas.Testing.Simulator;

/// <summary>
/// How a world can be broken on purpose, to see that its audit notices: the simulator's own test. A mutant stands where production code meets its ports, so
/// that to the other side the store, the journal, the clock or the barrier is one that makes this mistake.
/// </summary>
internal enum Mutant
{
    /// <summary>None: the production code as it is.</summary>
    None,
    /// <summary>The journal acknowledges before the sync.</summary>
    AcknowledgeBeforeSync,
    /// <summary>A failed sync is taken for a sync.</summary>
    IgnoreFailedSync,
    /// <summary>The directory is never synced.</summary>
    ForgetDirectorySync,
    /// <summary>Recovery cuts one record too many off the journal's end.</summary>
    CutOneRecordTooMany,
    /// <summary>A snapshot lacks its last record, and is whole in all else.</summary>
    SnapshotOneShort,
    /// <summary>Recovery leaves the unfinished sagas where they are.</summary>
    SkipRecovery,
    /// <summary>Recovery takes up all unfinished sagas but one.</summary>
    RecoverOneShort,
    /// <summary>Commands leave, and clients are answered, before the commit.</summary>
    DispatchBeforeCommit,
    /// <summary>A conflict is taken for a commit.</summary>
    DropVersionCheck,
    /// <summary>A commit leaves its history out.</summary>
    ForgetHistory,
    /// <summary>What an operation is at is not stored.</summary>
    ForgetOperation,
    /// <summary>A read shows the version before.</summary>
    ReadStale,
    /// <summary>Now and then a timer is lost.</summary>
    LoseTimer,
    /// <summary>The empty cancel leaves no fence.</summary>
    ForgetEmptyCancel,
    /// <summary>The fence falls to the first late Try, and a second one gets through.</summary>
    FenceFallsOnce,
    /// <summary>A participant answers before the barrier's row is durable.</summary>
    ReplyBeforeRow,
    /// <summary>The barrier is empty after a restart.</summary>
    BarrierForgets,
    /// <summary>The barrier does not note that a handler begins.</summary>
    SkipBegun,
    /// <summary>The barrier does not note that a confirm or an undo is done.</summary>
    SkipSecondDone,
    /// <summary>The barrier does not note a refusal.</summary>
    SkipRefusal,
    /// <summary>A participant does not say that a refusal, or a busy, is in doubt.</summary>
    DoubtUntold,
    /// <summary>The barrier's journal acknowledges before the sync.</summary>
    BarrierBeforeSync,
    /// <summary>The shared store does not compare owners: a claim leaves the owner before with its right to commit.</summary>
    NoOwnerCheck,
    /// <summary>Of two nodes that race for a version the second is told that it has won, too.</summary>
    RaceOverwrites,
    /// <summary>A node takes the sagas of others for its own, and acts on their timers.</summary>
    OthersTimers,
    /// <summary>A node that stops gives up its lease before its last commits.</summary>
    ReleaseBeforeLastCommit,
    /// <summary>The sagas of a dead node stay with it.</summary>
    NobodyTakesOver,
}
