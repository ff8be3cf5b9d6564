using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>Keeps sagas in this process only: for tests and trials. Nothing outlives the process.</summary>
public sealed class MemoryStore : ISagaStore
{
    private readonly SagaIndex _index = new();
    private readonly Dictionary<string, Kept> _sagas = new(StringComparer.Ordinal);
    private readonly SortedDictionary<(string Name, int Version), StoredDefinition> _definitions = new(StoredDefinitions.Order);
    private readonly KeptOperations _operations = new();
    private readonly KeptAudit _audit = new();
    private readonly Retention? _retention;

    /// <summary>A store that keeps everything.</summary>
    public MemoryStore()
    {
    }

    /// <summary>A store that forgets sagas that ended longer ago than <paramref name="retention"/>; it looks once a minute.</summary>
    public MemoryStore(TimeSpan retention, TimeProvider time) =>
        _retention = new Retention(retention, time, () =>
        {
            Expire();
            return Task.CompletedTask;
        });

    /// <inheritdoc/>
    public StoreHealth Health => StoreHealth.Good;

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel)
    {
        _retention?.Start();
        lock (_index.Gate)
            return new([.. _sagas.Values.Where(static kept => !kept.Entry.State!.Ended).Select(static kept => kept.Entry.State!)]);
    }

    /// <inheritdoc/>
    public ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(commits);
        cancel.ThrowIfCancellationRequested();
        var outcomes = ImmutableArray.CreateBuilder<CommitOutcome>(commits.Count);
        lock (_index.Gate)
            foreach (var commit in commits) outcomes.Add(Commit_NeedsLock(commit));
        return new(outcomes.MoveToImmutable());
    }

    /// <inheritdoc/>
    public ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel)
    {
        lock (_index.Gate) return new(_sagas.GetValueOrDefault(id.Value)?.Entry.State);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel)
    {
        lock (_index.Gate)
            return new(_sagas.TryGetValue(id.Value, out var kept) ? [.. kept.History.Where(entry => entry.Seq > after).Take(limit)] : null);
    }

    /// <inheritdoc/>
    public ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var hits = new SagaQuery(_index, filter, cursor).Newest(limit + 1);
        return new(new SagaPage([.. hits.Take(limit).Select(static hit => hit.State!)], hits.Count > limit ? SagaCursor.Write(hits[limit - 1].Saga) : null));
    }

    /// <inheritdoc/>
    public ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return new(SagaQuery.ByStatus(new SagaQuery(_index, filter, null).Count()));
    }

    /// <inheritdoc/>
    public ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel)
    {
        lock (_index.Gate)
            return new(_sagas.Values.Where(static kept => !kept.Entry.State!.Ended).Min(static kept => (DateTimeOffset?)kept.Entry.State!.StartedAt));
    }

    /// <inheritdoc/>
    public ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(definition);
        cancel.ThrowIfCancellationRequested();
        lock (_index.Gate)
        {
            if (StoredDefinitions.Known(_definitions, definition) is { } known) return new(known);
            _definitions.Add((definition.Name, definition.Version), definition);
            return new(DefinitionOutcome.Saved);
        }
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel)
    {
        lock (_index.Gate) return new([.. _definitions.Values]);
    }

    /// <inheritdoc/>
    public ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(operation);
        cancel.ThrowIfCancellationRequested();
        lock (_index.Gate)
        {
            if (!_operations.Fits(operation)) return new(false);
            _operations.Keep(operation);
            return new(true);
        }
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel)
    {
        lock (_index.Gate) return new(_operations.NewestFirst());
    }

    /// <inheritdoc/>
    public ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(entry);
        cancel.ThrowIfCancellationRequested();
        lock (_index.Gate) _audit.Keep(entry);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel)
    {
        lock (_index.Gate) return new(_audit.NewestFirst(limit, before));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_retention is not null) await _retention.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Forgets what ended too long ago, now.</summary>
    internal void Expire()
    {
        if (_retention is null) return;
        lock (_index.Gate)
        {
            _operations.Forget(_retention.Cutoff);
            _audit.Forget(_retention.Cutoff);
        }

        lock (_index.Gate)
            while (_index.Expire_NeedsLock(_retention.Cutoff, 1000, saga => _sagas.Remove(saga.State!.Id.Value)))
            {
            }
    }

    private CommitOutcome Commit_NeedsLock(SagaCommit commit)
    {
        var (state, history) = commit;
        var kept = _sagas.GetValueOrDefault(state.Id.Value);
        if ((kept?.Entry.State!.Version ?? 0) != state.Version - 1 || kept?.Entry.State!.Ended == true) return CommitOutcome.Conflict;
        if (kept is null)
        {
            kept = new Kept(new SagaEntry(state, _index.Define_NeedsLock(state.Definition)) { Status = state.Status });
            _sagas.Add(state.Id.Value, kept);
            _index.Add_NeedsLock(kept.Entry);
        }
        else _index.SetStatus_NeedsLock(kept.Entry, state.Status);
        kept.Entry.State = state;
        kept.Entry.FinishedAt = state.Ended ? (state.FinishedAt ?? state.UpdatedAt).ToUnixTimeMilliseconds() : 0;
        kept.History.AddRange(history);
        return CommitOutcome.Committed;
    }

    private sealed record Kept(SagaEntry Entry)
    {
        public List<HistoryEntry> History { get; } = [];
    }
}
