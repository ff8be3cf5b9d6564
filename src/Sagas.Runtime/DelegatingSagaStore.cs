using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>Passes every call on to another store. For stores that change, delay or count some of the calls to one that does the work.</summary>
/// <param name="inner">The store that does the work. It is disposed of with this one.</param>
public abstract class DelegatingSagaStore(ISagaStore inner) : ISagaStore
{
    /// <summary>The store that does the work.</summary>
    protected virtual ISagaStore Inner => inner;

    /// <inheritdoc/>
    public virtual StoreHealth Health => Inner.Health;

    /// <inheritdoc/>
    public virtual ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel) => Inner.OpenAsync(cancel);

    /// <inheritdoc/>
    public virtual ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel) => Inner.CommitAsync(commits, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel) => Inner.FindAsync(id, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel) => Inner.HistoryAsync(id, after, limit, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel) => Inner.ListAsync(filter, limit, cursor, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel) => Inner.CountAsync(filter, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel) => Inner.OldestUnfinishedAsync(cancel);

    /// <inheritdoc/>
    public virtual ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel) => Inner.SaveDefinitionAsync(definition, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel) => Inner.DefinitionsAsync(cancel);

    /// <inheritdoc/>
    public virtual ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel) => Inner.SaveOperationAsync(operation, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel) => Inner.OperationsAsync(cancel);

    /// <inheritdoc/>
    public virtual ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel) => Inner.SaveAuditAsync(entry, cancel);

    /// <inheritdoc/>
    public virtual ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel) => Inner.AuditAsync(limit, before, cancel);

    /// <inheritdoc/>
    public virtual async ValueTask DisposeAsync()
    {
        await inner.DisposeAsync().ConfigureAwait(false);
        GC.SuppressFinalize(this);
    }
}
