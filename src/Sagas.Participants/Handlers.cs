namespace Sagas.Participants;

/// <summary>
/// Carries out a TCC step: reserves, then confirms or gives back. The barrier around it takes care of repeats and of messages out of order; the one thing
/// left to the handler: after a crash between its effect and the barrier's note of it, it is called again with the same <see cref="CommandContext.Key"/>.
/// </summary>
/// <typeparam name="TTry">The command that reserves.</typeparam>
/// <typeparam name="TReservation">What the Try answers.</typeparam>
public interface ITccHandler<TTry, TReservation> where TTry : ITryCommand<TTry, TReservation>
{
    /// <summary>Reserves. <see cref="RefusedException"/>: no, and nothing was done. <see cref="BusyException"/>: not now, and nothing was done. Any other exception: unknown; asked again or cancelled.</summary>
    Task<TReservation> TryAsync(TTry command, CommandContext context, CancellationToken cancel);

    /// <summary>Makes the reservation final. Asked again until it succeeds.</summary>
    /// <param name="command">The Try's command.</param>
    /// <param name="reservation">What the Try answered.</param>
    /// <param name="context">The saga and step it is for.</param>
    /// <param name="cancel">Cancelled at the attempt's deadline.</param>
    Task ConfirmAsync(TTry command, TReservation? reservation, CommandContext context, CancellationToken cancel);

    /// <summary>Gives the reservation back. Asked again until it succeeds. Called only when a Try was begun here and not refused.</summary>
    /// <param name="command">The Try's command.</param>
    /// <param name="reservation">What the Try answered; null (default) when the Try threw or crashed midway: look by saga and step whether there is something to give back.</param>
    /// <param name="context">The saga and step it is for.</param>
    /// <param name="cancel">Cancelled at the attempt's deadline.</param>
    Task CancelAsync(TTry command, TReservation? reservation, CommandContext context, CancellationToken cancel);
}

/// <summary>Carries out a command of a plain step: what it does, what compensates it, or what it answers to a check. See <see cref="ITccHandler{TTry,TReservation}"/> on exceptions and repeats.</summary>
/// <typeparam name="TCommand">The command.</typeparam>
/// <typeparam name="TResult">Its answer.</typeparam>
public interface IStepHandler<TCommand, TResult> where TCommand : ICommand<TCommand, TResult>
{
    /// <summary>Carries the command out and answers.</summary>
    Task<TResult> HandleAsync(TCommand command, CommandContext context, CancellationToken cancel);
}

/// <summary>Carries out a command that has no answer.</summary>
/// <typeparam name="TCommand">The command.</typeparam>
public interface IStepHandler<TCommand> : IStepHandler<TCommand, Nothing> where TCommand : ICommand<TCommand>
{
    /// <summary>Carries the command out.</summary>
    new Task HandleAsync(TCommand command, CommandContext context, CancellationToken cancel);

    Task<Nothing> IStepHandler<TCommand, Nothing>.HandleAsync(TCommand command, CommandContext context, CancellationToken cancel)
    {
        var done = HandleAsync(command, context, cancel);
        return done.IsCompletedSuccessfully ? NothingTask.Value : NothingTask.AfterAsync(done);
    }
}

internal static class NothingTask
{
    public static readonly Task<Nothing> Value = Task.FromResult(Nothing.Value);

    public static async Task<Nothing> AfterAsync(Task done)
    {
        await done;
        return Nothing.Value;
    }
}

/// <summary>Whom a command is for.</summary>
/// <param name="Saga">The saga's id.</param>
/// <param name="Step">The step's name, unique in the saga.</param>
/// <param name="Phase">What is asked.</param>
/// <param name="Attempt">Which attempt it is, from 1.</param>
/// <param name="Key">The idempotency key, <c>{saga}/{step}/{phase}</c>: the same for every attempt. Write it with the effect and a second call can tell.</param>
/// <param name="TraceParent">W3C trace context; null: none.</param>
/// <param name="Deadline">When the engine stops waiting for this attempt; null: not said.</param>
public sealed record CommandContext(string Saga, string Step, Phase Phase, int Attempt, string Key, string? TraceParent, DateTimeOffset? Deadline);

/// <summary>A business no: nothing was done, and asking again will not help. Remembered by the barrier for Try and Do.</summary>
/// <param name="code">A code for programs, such as <c>sold-out</c>.</param>
/// <param name="message">A sentence for people.</param>
public sealed class RefusedException(string code, string message) : Exception(message)
{
    /// <summary>A code for programs.</summary>
    public string Code { get; } = code;
}

/// <summary>Not now: nothing was done; ask again later. Not counted as an attempt.</summary>
/// <param name="retryAfter">When to ask again; null: when the engine sees fit.</param>
/// <param name="message">A sentence for people.</param>
public sealed class BusyException(TimeSpan? retryAfter = null, string? message = null) : Exception(message ?? "Busy: ask again later.")
{
    /// <summary>When to ask again; null: when the engine sees fit.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;
}
