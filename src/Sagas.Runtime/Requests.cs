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

    /// <summary>A definition in JSON that comes with the saga, whose name <see cref="Definition"/> says; null: one that is loaded.</summary>
    public SagaDefinition? Inline { get; init; }

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

/// <summary>The answer to a definition that was put.</summary>
/// <param name="Outcome">What became of it.</param>
/// <param name="Definition">The one of its name and version that counts.</param>
/// <param name="Problem">For Conflict: what to do.</param>
public sealed record DefinitionResult(DefinitionOutcome Outcome, SagaDefinition Definition, string? Problem = null);

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
    double P50, double P95, double P99, DateTimeOffset? OldestUnfinishedAt)
{
    /// <summary>Sagas terminated.</summary>
    public double TerminatedPerSecond { get; init; }

    /// <summary>Attempts that were refused, erred or timed out.</summary>
    public double FailedPerSecond { get; init; }
}
