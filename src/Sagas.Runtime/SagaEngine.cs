using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>What a saga is started with.</summary>
/// <param name="Definition">The definition's name.</param>
/// <param name="Input">The input's JSON.</param>
public sealed record StartRequest(string Definition, Payload Input)
{
    /// <summary>The saga's id; null: a new one.</summary>
    public SagaId? Id { get; init; }

    /// <summary>The definition's version; null: the newest.</summary>
    public int? Version { get; init; }

    /// <summary>Labels to list by.</summary>
    public ImmutableSortedDictionary<string, string> Tags { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>0 to 9, 9 first.</summary>
    public int Priority { get; init; } = 5;

    /// <summary>W3C trace context to go on with.</summary>
    public string? TraceParent { get; init; }
}

/// <summary>What became of a start.</summary>
public enum StartOutcome
{
    /// <summary>A new saga, durable.</summary>
    Started,
    /// <summary>The id was used before with the same definition and input: that saga.</summary>
    Exists,
    /// <summary>The id was used before with another definition or input.</summary>
    Differs,
    /// <summary>The engine is full; nothing was accepted.</summary>
    Busy,
    /// <summary>No such definition or version.</summary>
    UnknownDefinition,
    /// <summary>The input does not fit the definition's input type.</summary>
    BadInput,
}

/// <summary>The answer to a start.</summary>
/// <param name="Outcome">What became of it.</param>
/// <param name="Saga">The saga, durable, for Started, Exists and Differs.</param>
/// <param name="Problem">What is wrong and what to do.</param>
/// <param name="Path">For BadInput: the JSON path of the fault.</param>
public sealed record StartResult(StartOutcome Outcome, SagaState? Saga = null, string? Problem = null, string? Path = null);

/// <summary>What became of an operator's request.</summary>
public enum RequestOutcome
{
    /// <summary>Done, durable.</summary>
    Accepted,
    /// <summary>No such saga.</summary>
    NotFound,
    /// <summary>Not in the saga's state; nothing was changed.</summary>
    WrongState,
    /// <summary>The engine is full.</summary>
    Busy,
}

/// <summary>The answer to an operator's request.</summary>
/// <param name="Outcome">What became of it.</param>
/// <param name="Saga">The saga as it stands.</param>
/// <param name="Problem">What is wrong and what to do.</param>
public sealed record RequestResult(RequestOutcome Outcome, SagaState? Saga = null, string? Problem = null);

/// <summary>Numbers for the dashboard, over the last minute.</summary>
/// <param name="ByStatus">How many sagas are in each status.</param>
/// <param name="StartedPerSecond">Starts.</param>
/// <param name="CompletedPerSecond">Sagas completed.</param>
/// <param name="CompensatedPerSecond">Sagas compensated.</param>
/// <param name="P50">Median duration of ended sagas, in ms.</param>
/// <param name="P95">95th percentile, in ms.</param>
/// <param name="P99">99th percentile, in ms.</param>
/// <param name="OldestUnfinishedAt">Start of the oldest unfinished saga.</param>
public sealed record EngineStats(ImmutableDictionary<SagaStatus, long> ByStatus, double StartedPerSecond, double CompletedPerSecond, double CompensatedPerSecond,
    double P50, double P95, double P99, DateTimeOffset? OldestUnfinishedAt);

/// <summary>The engine's public face.</summary>
public sealed class SagaEngine
{
    /// <summary>The definitions this engine runs, all versions.</summary>
    public IReadOnlyCollection<SagaDefinition> Definitions => throw new NotSupportedException();

    /// <summary>The definition of that name, the newest version unless one is given; null: none.</summary>
    public SagaDefinition? FindDefinition(string name, int? version = null) => throw new NotSupportedException();

    /// <summary>Starts a saga. When it returns Started or Exists, the saga is durable.</summary>
    /// <exception cref="StoreUnavailableException">Whether it was started is unknown: repeat with the same id.</exception>
    public ValueTask<StartResult> StartAsync(StartRequest request, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>The saga as it is durable, or null.</summary>
    public ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>The saga as soon as it has ended, or as it stands when <paramref name="patience"/> is over; null: no such saga.</summary>
    public ValueTask<SagaState?> WaitAsync(SagaId id, TimeSpan patience, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>An operator's request: one of <see cref="SagaEvent"/>'s <c>…Requested</c> or <c>StepResolved</c>.</summary>
    public ValueTask<RequestResult> RequestAsync(SagaId id, SagaEvent request, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>A page of history; null: no such saga.</summary>
    public ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>A page of sagas, newest first.</summary>
    public ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>How many sagas match, by status.</summary>
    public ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>Numbers for the dashboard.</summary>
    public ValueTask<EngineStats> StatsAsync(CancellationToken cancel = default) => throw new NotSupportedException();

    /// <summary>How the store is.</summary>
    public StoreHealth StoreHealth => throw new NotSupportedException();

    /// <summary>Takes replies from the bus. Returns once they wait in a worker's mailbox; waits while that is full.</summary>
    public ValueTask ReceiveAsync(ReplyBatch batch, CancellationToken cancel = default) => throw new NotSupportedException();
}
