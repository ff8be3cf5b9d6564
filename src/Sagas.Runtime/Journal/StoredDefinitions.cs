using System.Text;

namespace Sagas.Runtime;

/// <summary>
/// Definitions are few and never go: all are in memory, and every snapshot holds them whole, so that no segment is kept for their sake.
/// </summary>
public sealed partial class JournalStore
{
    readonly SortedDictionary<(string Name, int Version), StoredDefinition> _definitions = new(StoredDefinitions.Order);
    readonly SemaphoreSlim _defining = new(1);

    /// <inheritdoc/>
    public async ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(definition);
        // One at a time: what is shown as known is durable, and of two that differ the second sees the first.
        await _defining.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            using var buffer = new RecordBuffer();
            WriteDefinition(buffer, definition);
            if (buffer.Bytes > MostRecordBytes)
                throw new ArgumentException($"Definition '{definition.Name}' takes {buffer.Bytes} bytes, more than the {MostRecordBytes} that a record may have. "
                    + "Make it smaller, or raise Sagas:Journal:SegmentBytes.");
            // A snapshot that is taken meanwhile waits for the round's end, and then has it.
            var round = new Round(_time);
            lock (_index.Gate)
            {
                if (_failure is not null) throw Unavailable(_failure);
                if (_closed) throw new StoreUnavailableException($"The journal in '{_options.Path}' is closed.");
                if (StoredDefinitions.Known(_definitions, definition) is { } known) return known;
                _rounds.Add(round);
            }

            try
            {
                await AppendOrFailAsync(buffer).ConfigureAwait(false);
                lock (_index.Gate) _definitions.Add((definition.Name, definition.Version), definition);
                return DefinitionOutcome.Saved;
            }
            finally
            {
                lock (_index.Gate) _rounds.Remove(round);
                round.End();
            }
        }
        finally
        {
            _defining.Release();
        }
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel)
    {
        lock (_index.Gate) return new([.. _definitions.Values]);
    }

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
