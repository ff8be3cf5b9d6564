using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>An unfinished saga: what the index knows of it, and where its records lie.</summary>
sealed class OpenSaga(SagaEntry entry)
{
    public SagaEntry Entry { get; set; } = entry;

    /// <summary>Its records, oldest first. Changed only by whoever holds <see cref="InFlight"/>, under the lock.</summary>
    public List<RecordPlace> Places { get; } = [];

    /// <summary>Bytes of history in those records.</summary>
    public int HistoryBytes { get; set; }

    /// <summary>Its version while the journal is replayed; afterwards its state has it.</summary>
    public long Version { get; set; }

    /// <summary>Who writes its next record. Nobody else may until that has ended, and no reader sees anything of it before.</summary>
    public Round? InFlight { get; set; }

    /// <summary>Whether any version of it is durable.</summary>
    public bool Exists => Entry.State is not null;
}

/// <summary>Records that are written together.</summary>
sealed class Round(TimeProvider time)
{
    readonly TaskCompletionSource _ended = new(time.Continuations());

    public List<(OpenSaga Saga, SagaCommit Commit, int Index)> Claims { get; } = [];

    /// <summary>Ends when what was written can be seen, or writing has failed.</summary>
    public Task Ended => time.Shared(_ended.Task);

    public void End() => _ended.SetResult();
}
