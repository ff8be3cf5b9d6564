namespace Sagas.Participants;

/// <summary>Where a participant keeps what it has answered: one row for each saga and step. Every store passes the same contract tests.</summary>
public interface IBarrierStore : IAsyncDisposable
{
    /// <summary>Called once, before anything else.</summary>
    ValueTask OpenAsync(CancellationToken cancel);

    /// <summary>The row as last written, or null. A store that several processes share begins this one's turn with the step.</summary>
    /// <exception cref="BusyException">Another process has its turn.</exception>
    ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel);

    /// <summary>
    /// Writes the row over the one of the same saga and step; returns once it is as durable as this store makes it. Rows of different steps may be written at
    /// the same time. A settled row (<see cref="BarrierRow.IsSettled"/>) may be forgotten when it is older than the store's retention, another never.
    /// </summary>
    /// <exception cref="Exception">It was not written, or nobody knows; the turn may have been lost to another process.</exception>
    ValueTask WriteAsync(BarrierRow row, CancellationToken cancel);

    /// <summary>Ends the turn that <see cref="FindAsync"/> began. Nothing to do for a store of one process.</summary>
    ValueTask LeaveAsync(string saga, string step) => ValueTask.CompletedTask;
}

/// <summary>How far the first phase of a step (Try or Do) has come.</summary>
public enum BarrierForward : byte
{
    /// <summary>It never began here: the row is a fence, written by a Cancel or a Compensate that came first.</summary>
    None,
    /// <summary>Begun; no answer is known (it runs, it threw, or it crashed midway).</summary>
    Started,
    /// <summary>Answered ok.</summary>
    Ok,
    /// <summary>Answered with a refusal.</summary>
    Refused,
}

/// <summary>What a participant knows of one step of one saga. Immutable.</summary>
/// <param name="Saga">The saga's id.</param>
/// <param name="Step">The step's name.</param>
public sealed record BarrierRow(string Saga, string Step)
{
    /// <summary>How far Try or Do has come.</summary>
    public BarrierForward Forward { get; init; }

    /// <summary>Whether the first phase is a Do (else a Try).</summary>
    public bool IsDo { get; init; }

    /// <summary>
    /// Begun: whether a run of it may have left something, as one that runs, threw or crashed midway. Refused: whether a run before the refused one may have, so that
    /// there may be something to undo after all.
    /// </summary>
    public bool InDoubt { get; init; }

    /// <summary>The Do's command, kept until its answer is known: by it the Do can be asked again.</summary>
    public string? Command { get; init; }

    /// <summary>The Do's payload, kept as long as <see cref="Command"/>.</summary>
    public Payload? CommandPayload { get; init; }

    /// <summary>What Try or Do answered.</summary>
    public Payload? Result { get; init; }

    /// <summary>The refusal's code.</summary>
    public string? Code { get; init; }

    /// <summary>The refusal's message.</summary>
    public string? Message { get; init; }

    /// <summary>The second phase once it has begun: Confirm, Cancel or Compensate.</summary>
    public Phase? Second { get; init; }

    /// <summary>Whether the second phase was answered ok.</summary>
    public bool SecondDone { get; init; }

    /// <summary>What Compensate answered.</summary>
    public Payload? SecondResult { get; init; }

    /// <summary>When it was last written.</summary>
    public DateTimeOffset At { get; init; }

    /// <summary>
    /// Whether the row may be forgotten after the retention: its second phase is done, or its first was refused, or it is a Do that is done (nothing tells a
    /// participant that a step will never be compensated).
    /// </summary>
    public bool IsSettled => SecondDone || (Second is null && (Forward == BarrierForward.Refused || (IsDo && Forward == BarrierForward.Ok)));
}
