using System.Text;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>
/// Definitions never go, operations and what operators did go soon; all are few: they are in memory, and every snapshot holds them whole, so that no
/// segment is kept for their sake.
/// </summary>
public sealed partial class JournalStore
{
    readonly SortedDictionary<(string Name, int Version), StoredDefinition> _definitions = new(StoredDefinitions.Order);
    readonly KeptOperations _operations = new();
    readonly KeptAudit _audit = new();
    readonly Gate _keeping;

    /// <inheritdoc/>
    public async ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(definition);
        var known = DefinitionOutcome.Saved;
        await KeepAsync(buffer => WriteDefinition(buffer, definition), $"Definition '{definition.Name}'",
            () => (known = StoredDefinitions.Known(_definitions, definition) ?? DefinitionOutcome.Saved) == DefinitionOutcome.Saved,
            () => _definitions.Add((definition.Name, definition.Version), definition), cancel).ConfigureAwait(false);
        return known;
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
        return KeepAsync(buffer => WriteOperation(buffer, operation), $"Operation '{operation.Id}'", () => _operations.Fits(operation), () => _operations.Keep(operation), cancel);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel)
    {
        lock (_index.Gate) return new(_operations.NewestFirst());
    }

    /// <inheritdoc/>
    public async ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(entry);
        await KeepAsync(buffer => WriteAudit(buffer, entry), $"Audit entry '{entry.Id}'", () => !_audit.Has(entry.Id), () => _audit.Keep(entry), cancel).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel)
    {
        lock (_index.Gate) return new(_audit.NewestFirst(limit, before));
    }

    /// <summary>Writes a record if it still fits, and shows it once it is durable.</summary>
    async ValueTask<bool> KeepAsync(Action<RecordBuffer> write, string what, Func<bool> fits_NeedsLock, Action show_NeedsLock, CancellationToken cancel)
    {
        // One at a time: what is shown is durable, and of two that differ the second sees the first.
        await _keeping.EnterAsync(cancel).ConfigureAwait(false);
        try
        {
            using var buffer = new RecordBuffer();
            write(buffer);
            if (buffer.Bytes > MostRecordBytes)
                throw new ArgumentException($"{what} takes {buffer.Bytes} bytes, more than the {MostRecordBytes} that a record may have. Make it smaller, or raise Sagas:Journal:SegmentBytes.");
            // A snapshot that is taken meanwhile waits for the round's end, and then has it.
            var round = new Round(_time);
            lock (_index.Gate)
            {
                if (_failure is not null) throw Unavailable(_failure);
                if (_closed) throw new StoreUnavailableException($"The journal in '{_options.Path}' is closed.");
                if (!fits_NeedsLock()) return false;
                _rounds.Add(round);
            }

            try
            {
                await AppendOrFailAsync(buffer).ConfigureAwait(false);
                lock (_index.Gate) show_NeedsLock();
                return true;
            }
            finally
            {
                lock (_index.Gate) _rounds.Remove(round);
                round.End();
            }
        }
        finally
        {
            _keeping.Leave();
        }
    }

    static void WriteOperation(RecordBuffer buffer, Operation operation) =>
        buffer.Write(new RecordHead { Kind = RecordKind.Operation, Version = operation.Version }, Encoding.UTF8.GetBytes(operation.Id), "", [], operation.ToUtf8(), []);

    static Operation ReadOperation(in SagaRecord record) => Operation.Parse(record.StateJson.ToArray());

    static void WriteAudit(RecordBuffer buffer, AuditEntry entry) =>
        buffer.Write(new RecordHead { Kind = RecordKind.Audit, Version = 1 }, Encoding.UTF8.GetBytes(entry.Id), "", [], entry.ToUtf8(), []);

    static AuditEntry ReadAudit(in SagaRecord record) => AuditEntry.Parse(record.StateJson.ToArray());

    static void WriteDefinition(RecordBuffer buffer, StoredDefinition definition) => buffer.Write(new RecordHead { Kind = RecordKind.Definition, Version = definition.Version },
        Encoding.UTF8.GetBytes(definition.Name), "", [], definition.ToUtf8(), []);

    static StoredDefinition ReadDefinition(in SagaRecord record) => StoredDefinition.Parse(record.StateJson.ToArray());
}

/// <summary>Definitions by name and version.</summary>
static class StoredDefinitions
{
    public static readonly Comparer<(string Name, int Version)> Order = Comparer<(string Name, int Version)>.Create(static (a, b) =>
        string.CompareOrdinal(a.Name, b.Name) is not 0 and var names ? names : a.Version.CompareTo(b.Version));

    /// <summary>What to answer when its name and version are taken; null: they are not.</summary>
    public static DefinitionOutcome? Known(SortedDictionary<(string Name, int Version), StoredDefinition> all, StoredDefinition definition) =>
        !all.TryGetValue((definition.Name, definition.Version), out var kept) ? null
        : kept.Fingerprint == definition.Fingerprint ? DefinitionOutcome.Exists : DefinitionOutcome.Conflict;
}

/// <summary>Operations by their ids.</summary>
sealed class KeptOperations
{
    readonly Dictionary<string, Operation> _all = new(StringComparer.Ordinal);

    public IEnumerable<Operation> All => _all.Values;

    /// <summary>Whether it is the next version of what is kept, or the same again.</summary>
    public bool Fits(Operation operation) => _all.GetValueOrDefault(operation.Id) is not { } kept ? operation.Version == 1
        : kept.Version == operation.Version - 1 || (kept.Version == operation.Version && kept.ToUtf8().AsSpan().SequenceEqual(operation.ToUtf8()));

    public void Keep(Operation operation) => _all[operation.Id] = operation;

    public IReadOnlyList<Operation> NewestFirst() => [.. _all.Values.OrderByDescending(static operation => operation.Id, StringComparer.Ordinal)];

    /// <summary>Forgets those that ended at that time (Unix milliseconds) or before.</summary>
    public void Forget(long endedBy)
    {
        foreach (var (id, operation) in _all.ToArray())
            if (operation.FinishedAt?.ToUnixTimeMilliseconds() <= endedBy) _all.Remove(id);
    }
}

/// <summary>What operators did, by the ids; the newest are kept.</summary>
sealed class KeptAudit
{
    static readonly Comparer<AuditEntry> s_byId = Comparer<AuditEntry>.Create(static (a, b) => string.CompareOrdinal(a.Id, b.Id));
    readonly SortedSet<AuditEntry> _all = new(s_byId);

    /// <summary>All of it, the oldest first.</summary>
    public IEnumerable<AuditEntry> All => _all;

    public bool Has(string id) => _all.Contains(Key(id));

    public void Keep(AuditEntry entry)
    {
        _all.Add(entry);
        if (_all.Count > AuditEntry.MostKept) _all.Remove(_all.Min!);
    }

    public IReadOnlyList<AuditEntry> NewestFirst(int limit, string? before) =>
        [.. _all.Reverse().SkipWhile(entry => before is not null && string.CompareOrdinal(entry.Id, before) >= 0).Take(limit)];

    /// <summary>Forgets what was done at that time (Unix milliseconds) or before.</summary>
    public void Forget(long doneBy) => _all.RemoveWhere(entry => entry.At.ToUnixTimeMilliseconds() <= doneBy);

    static AuditEntry Key(string id) => new() { Id = id, At = default, By = "", Action = "", Kind = "", Target = "", Reason = "" };
}
