namespace Sagas;

/// <summary>What must be done once the decision is durable: a closed list.</summary>
public abstract record Effect
{
    private Effect() { }

    /// <summary>Send a command to a participant.</summary>
    /// <param name="Step">The step it is for.</param>
    /// <param name="Endpoint">Where it goes.</param>
    /// <param name="Phase">What it asks.</param>
    /// <param name="Attempt">Which attempt it is, from 1.</param>
    /// <param name="Payload">The command's JSON.</param>
    /// <param name="Deadline">When the attempt times out.</param>
    public sealed record Send(string Step, Endpoint Endpoint, Phase Phase, int Attempt, Payload Payload, DateTimeOffset Deadline) : Effect;
}

/// <summary>One line of a saga's history.</summary>
public sealed record HistoryEntry
{
    /// <summary>Its place, from 1, without gaps.</summary>
    public required int Seq { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>What: <c>started, sent, accepted, replied, timed-out, committed, turned-back, stuck, cancel-requested, retry-requested, paused, resumed, resolved, completed, compensated, terminated</c>.</summary>
    public required string Event { get; init; }

    /// <summary>To which step.</summary>
    public string? Step { get; init; }

    /// <summary>In which phase.</summary>
    public Phase? Phase { get; init; }

    /// <summary>In which attempt; 0: none.</summary>
    public int Attempt { get; init; }

    /// <summary>A participant's answer.</summary>
    public Outcome? Outcome { get; init; }

    /// <summary>More, for people.</summary>
    public string? Detail { get; init; }

    /// <summary>Which operator.</summary>
    public string? By { get; init; }

    /// <summary>The operator's reason.</summary>
    public string? Reason { get; init; }
}
