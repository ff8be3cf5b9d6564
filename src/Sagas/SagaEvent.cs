namespace Sagas;

/// <summary>How a participant answered.</summary>
public enum Outcome
{
    /// <summary>It took effect.</summary>
    Ok,
    /// <summary>A business no, without effect: not asked again.</summary>
    Refused,
    /// <summary>Something broke; whether it took effect is unknown: asked again.</summary>
    Error,
    /// <summary>Not now, without effect: asked again, not counted.</summary>
    Busy,
}

/// <summary>What happened to a saga: a closed list.</summary>
public abstract record SagaEvent
{
    private SagaEvent() { }

    /// <summary>A participant answered.</summary>
    public sealed record Replied(string Step, Phase Phase, int Attempt, Outcome Outcome, Payload? Result = null, string? Code = null,
        string? Message = null, TimeSpan? RetryAfter = null) : SagaEvent
    {
        /// <summary>With a refusal or a busy of a Try or Do: the same was begun before and left no answer, so that there may be something to undo all the same.</summary>
        public bool InDoubt { get; init; }
    }

    /// <summary>A participant took the command and will call back with the outcome (HTTP 202).</summary>
    /// <param name="Step">The step.</param>
    /// <param name="Phase">What was asked.</param>
    /// <param name="Attempt">Which attempt took it.</param>
    /// <param name="Within">How long the outcome may take, from now; then the attempt has timed out.</param>
    public sealed record Accepted(string Step, Phase Phase, int Attempt, TimeSpan Within) : SagaEvent;

    /// <summary>An attempt's time is over.</summary>
    public sealed record AttemptTimedOut(string Step, Phase Phase, int Attempt) : SagaEvent;

    /// <summary>The delay before the next attempt is over.</summary>
    /// <param name="Step">The step.</param>
    /// <param name="Phase">The phase to ask again.</param>
    /// <param name="Attempt">The attempt last sent.</param>
    public sealed record RetryDue(string Step, Phase Phase, int Attempt) : SagaEvent;

    /// <summary>The saga's time is over.</summary>
    public sealed record SagaTimedOut : SagaEvent;

    /// <summary>Its node is gone with all it had heard and sent: what is in flight must be asked again.</summary>
    public sealed record Recovered : SagaEvent;

    /// <summary>An operator asks that it turns back.</summary>
    public sealed record CancelRequested(string Reason, string By) : SagaEvent;

    /// <summary>An operator asks that waiting steps are asked again at once.</summary>
    public sealed record RetryRequested(string Reason, string By) : SagaEvent;

    /// <summary>An operator holds it.</summary>
    public sealed record PauseRequested(string Reason, string By) : SagaEvent;

    /// <summary>An operator lets it go on.</summary>
    public sealed record ResumeRequested(string Reason, string By) : SagaEvent;

    /// <summary>An operator ends it where it stands.</summary>
    public sealed record TerminateRequested(string Reason, string By) : SagaEvent;

    /// <summary>An operator's word on what became of a failing step.</summary>
    /// <param name="Step">The step.</param>
    /// <param name="Done">Whether the phase under way took effect.</param>
    /// <param name="Result">The result of a Try or Do that took effect.</param>
    /// <param name="Reason">Why.</param>
    /// <param name="By">Who.</param>
    public sealed record StepResolved(string Step, bool Done, Payload? Result, string Reason, string By) : SagaEvent;
}
