using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;

namespace Sagas.Runtime;

/// <summary>Where sagas are kept. Every store passes the same contract tests. All methods may be called at the same time.</summary>
public interface ISagaStore : IAsyncDisposable
{
    /// <summary>Opens the store and returns the unfinished sagas that this node is to go on with. Called once, before anything else.</summary>
    ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel);

    /// <summary>
    /// Commits each saga whose stored version is <c>State.Version - 1</c> (0: not stored), with its new history. Returns once all are durable, one outcome
    /// each, in order. One saga's conflict does not hold up the others. Until it returns, readers see the version before; a commit on a saga of which
    /// another commit is under way is decided when that one has ended. A saga's id, definition, tags and start never change after its first commit; times
    /// are kept to the millisecond. What has begun is not given up by <paramref name="cancel"/>.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The store cannot say: each commit may or may not have happened.</exception>
    ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel);

    /// <summary>The saga as last committed, or null.</summary>
    ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel);

    /// <summary>A saga's history in order, entries with <c>Seq</c> above <paramref name="after"/>, at most <paramref name="limit"/>. Null: no such saga.</summary>
    ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel);

    /// <summary>The sagas that match, newest start first (ties by id, descending), and the cursor of the next page or null.</summary>
    /// <exception cref="FormatException">The cursor is none of this store's.</exception>
    ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel);

    /// <summary>How many sagas match, by status; a status without any is left out.</summary>
    ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel);

    /// <summary>When the oldest unfinished saga was started; null: none is unfinished.</summary>
    ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel);

    /// <summary>
    /// Keeps a definition, under its name and version, for as long as the store lives: it is durable when this returns Saved or Exists. What is kept first
    /// stays, its source too.
    /// </summary>
    /// <exception cref="StoreUnavailableException">Whether it was kept is unknown: repeat.</exception>
    ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel);

    /// <summary>All definitions that are kept, by name (ordinal) and version.</summary>
    ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel);

    /// <summary>
    /// Keeps an operation's next version: durable when this returns true. False: the version that is kept is not <c>Version - 1</c> (0: none is), and
    /// nothing was changed; the very same again is true, for one whose answer was lost. One that has ended is forgotten as sagas are.
    /// </summary>
    /// <exception cref="StoreUnavailableException">Whether it was kept is unknown.</exception>
    ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel);

    /// <summary>All operations that are kept, newest first: by their ids, descending (ordinal).</summary>
    ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel);

    /// <summary>
    /// Keeps what an operator did: durable when this returns; the very same again changes nothing. Of older ones the newest <see cref="AuditEntry.MostKept"/>
    /// are kept, each as long as a saga that ended then.
    /// </summary>
    /// <exception cref="StoreUnavailableException">Whether it was kept is unknown: repeat.</exception>
    ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel);

    /// <summary>What operators did, newest first: by the ids, descending (ordinal), at most <paramref name="limit"/>, and only those below <paramref name="before"/> unless it is null.</summary>
    ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel);

    /// <summary>How the store is.</summary>
    StoreHealth Health { get; }
}

/// <summary>A definition as a store keeps it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Fingerprint">Tells two graphs apart: <see cref="SagaDefinition.Fingerprint"/>.</param>
/// <param name="Json">The definition as it was given.</param>
/// <param name="Source">Where it came from; says which hosts it may call.</param>
public sealed record StoredDefinition(string Name, int Version, string Fingerprint, Payload Json, DefinitionSource Source)
{
    /// <summary>All of it as one JSON object, for stores that keep bytes.</summary>
    public byte[] ToUtf8()
    {
        var bytes = new ArrayBufferWriter<byte>(Json.Utf8.Length + 256);
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("name"u8, Name);
            json.WriteNumber("version"u8, Version);
            json.WriteString("fingerprint"u8, Fingerprint);
            json.WriteString("source"u8, Source.Word());
            json.WritePropertyName("definition"u8);
            json.WriteRawValue(Json.Utf8.Span, skipInputValidation: true);
            json.WriteEndObject();
        }
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Reads what <see cref="ToUtf8"/> wrote; unknown fields are ignored.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static StoredDefinition Parse(ReadOnlyMemory<byte> utf8)
    {
        using var document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = 2 * Payload.MaxDepth });
        var root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("name", out var name) || !root.TryGetProperty("version", out var version)
            || !root.TryGetProperty("fingerprint", out var fingerprint) || !root.TryGetProperty("source", out var source) || !root.TryGetProperty("definition", out var given))
            throw new JsonException("A stored definition has name, version, fingerprint, source and definition.");
        return new StoredDefinition(name.GetString()!, version.GetInt32(), fingerprint.GetString()!, new Payload(Encoding.UTF8.GetBytes(given.GetRawText())),
            DefinitionSources.Of(source.GetString()!) ?? throw new JsonException($"'{source.GetString()}' is no source of a definition that this program knows."));
    }
}

/// <summary>What became of a definition that was to be kept.</summary>
public enum DefinitionOutcome
{
    /// <summary>It is new, and durable.</summary>
    Saved,
    /// <summary>The same graph is kept already.</summary>
    Exists,
    /// <summary>Its name and version are another graph's; nothing was changed.</summary>
    Conflict,
}

/// <summary>One saga's next version.</summary>
/// <param name="State">The new state; its version is the stored one plus 1.</param>
/// <param name="History">The entries that this version adds.</param>
public sealed record SagaCommit(SagaState State, ImmutableArray<HistoryEntry> History)
{
    /// <summary>The node that owned the saga when it was read, if that was another one: this commit takes it over. A store that only one node uses ignores it.</summary>
    public string? TakenFrom { get; init; }
}

/// <summary>What became of a commit.</summary>
public enum CommitOutcome
{
    /// <summary>It is durable.</summary>
    Committed,
    /// <summary>The store has another version: nothing was written.</summary>
    Conflict,
    /// <summary>The store cannot say of this one: it may or may not have happened. The others of the call are not touched by that.</summary>
    Unknown,
}

/// <summary>What to list. Null means any.</summary>
/// <param name="Statuses">Statuses as shown.</param>
/// <param name="Definition">The definition's name.</param>
/// <param name="Tags">Tags that must all be there.</param>
/// <param name="Step">A step that is under way.</param>
/// <param name="Text">The start of an id, or a whole tag value.</param>
/// <param name="StartedAfter">Started at this time or later.</param>
/// <param name="StartedBefore">Started before this time.</param>
public sealed record SagaFilter(ImmutableArray<SagaStatus>? Statuses = null, string? Definition = null, ImmutableArray<KeyValuePair<string, string>>? Tags = null,
    string? Step = null, string? Text = null, DateTimeOffset? StartedAfter = null, DateTimeOffset? StartedBefore = null)
{
    /// <summary>
    /// Where <see cref="Step"/> stands in each definition that has it. The engine fills it in, because a state names no steps; a store
    /// asked for a step looks at these places only; a saga with an inline definition knows its own.
    /// </summary>
    public ImmutableArray<StepPlace> StepPlaces { get; init; } = [];

    /// <summary>
    /// The code of an error with which an unfinished saga turned back or one of its steps fails; null means any. Together with
    /// <see cref="Step"/> the error is that step's, which need not be under way any more.
    /// </summary>
    public string? Error { get; init; }

    /// <summary>Whether only unfinished sagas can match.</summary>
    public bool UnfinishedOnly => Step is not null || Error is not null;

    /// <summary>Whether a saga matches.</summary>
    public bool Matches(SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        if (Statuses is { IsDefaultOrEmpty: false } statuses && !statuses.Contains(saga.Status)) return false;
        if (Definition is not null && Definition != saga.Definition) return false;
        if (saga.StartedAt < StartedAfter || saga.StartedAt >= StartedBefore) return false;
        if (Tags is { IsDefaultOrEmpty: false } tags && !tags.All(tag => saga.Tags.TryGetValue(tag.Key, out var value) && value == tag.Value)) return false;
        if (!string.IsNullOrEmpty(Text) && !saga.Id.Value.StartsWith(Text, StringComparison.Ordinal) && !saga.Tags.ContainsValue(Text)) return false;
        return MatchesSteps(saga);
    }

    /// <summary>Whether a saga is at the wanted step, and has the wanted error.</summary>
    public bool MatchesSteps(SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        if (!UnfinishedOnly) return true;
        if (saga.Ended) return false;
        if (Error is not null && saga.Error is { } error && error.Code == Error && (Step is null || error.Step == Step)) return true;
        if (Step is null) return saga.Steps.Any(step => step.Error?.Code == Error);
        if (saga.Inline is { } inline) return inline.Definition?.Find(Step) is { } own && MatchesStep(saga, own.Index);
        foreach (var (definition, version, index) in StepPlaces.IsDefault ? [] : StepPlaces)
            if (version == saga.DefinitionVersion && definition == saga.Definition && MatchesStep(saga, index)) return true;
        return false;
    }

    private bool MatchesStep(SagaState saga, int index) =>
        index < saga.Steps.Length && (Error is null ? IsAt(saga.Steps[index]) : saga.Steps[index].Error?.Code == Error);

    private static bool IsAt(StepState step) => step.Phase is not null || step.Status == StepStatus.Waiting;
}

/// <summary>A step's place in one version of a definition.</summary>
/// <param name="Definition">The definition's name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Index">The step's index in <see cref="SagaState.Steps"/>.</param>
public readonly record struct StepPlace(string Definition, int Version, int Index);

/// <summary>One page of a listing.</summary>
/// <param name="Items">The sagas.</param>
/// <param name="Next">The next page's cursor; null: this is the last.</param>
public sealed record SagaPage(IReadOnlyList<SagaState> Items, string? Next);

/// <summary>How a store is.</summary>
/// <param name="Level">Whether it can be used.</param>
/// <param name="Detail">What is wrong and what to do; null: nothing.</param>
public sealed record StoreHealth(StoreLevel Level, string? Detail = null)
{
    /// <summary>Nothing is wrong.</summary>
    public static StoreHealth Good { get; } = new(StoreLevel.Good);
}

/// <summary>How usable a store is.</summary>
public enum StoreLevel
{
    /// <summary>All works.</summary>
    Good,
    /// <summary>It works; new sagas are refused so that open ones can end (little room is left).</summary>
    Low,
    /// <summary>Nothing can be committed.</summary>
    Down,
}

/// <summary>The store cannot say whether a commit happened, or cannot answer at all.</summary>
public sealed class StoreUnavailableException(string message, Exception? inner = null) : Exception(message, inner);
