using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace Sagas.Participants;

/// <summary>Every metric, span and log name of a participant. Costs nothing when nobody listens.</summary>
internal static class Telemetry
{
    private static readonly ActivitySource Source = new("Sagas");
    private static readonly Meter Meter = new("Sagas");
    private static readonly Counter<long> Items = Meter.CreateCounter<long>("sagas.participant.items", "{item}", "Items answered, by participant, phase and outcome.");
    private static readonly Histogram<double> Duration = Meter.CreateHistogram<double>("sagas.participant.duration", "s", "From an item's start to its reply, by participant and phase.");

    public static Activity? Start(string participant, CommandItem item)
    {
        if (!Source.HasListeners()) return null;
        var parent = ActivityContext.TryParse(item.TraceParent, null, isRemote: true, out var context) ? context : default;
        var activity = Source.StartActivity($"{item.Phase.Word()} {item.Command}", ActivityKind.Consumer, parent);
        activity?.SetTag("sagas.saga", item.Saga).SetTag("sagas.step", item.Step).SetTag("sagas.participant", participant).SetTag("sagas.attempt", item.Attempt);
        return activity;
    }

    public static long Now => Duration.Enabled ? Stopwatch.GetTimestamp() : 0;

    public static void Answered(string participant, ReplyItem reply, long started, Activity? activity)
    {
        if (activity is not null)
        {
            activity.SetTag("sagas.outcome", reply.Outcome.Word());
            if (reply.Outcome == Outcome.Error) activity.SetStatus(ActivityStatusCode.Error, reply.Message);
            activity.Dispose();
        }
        if (Items.Enabled) Items.Add(1, new("participant", participant), new("phase", reply.Phase.Word()), new("outcome", reply.Outcome.Word()));
        if (Duration.Enabled && started != 0)
            Duration.Record(Stopwatch.GetElapsedTime(started).TotalSeconds, new("participant", participant), new KeyValuePair<string, object?>("phase", reply.Phase.Word()));
    }
}

internal static partial class Log
{
    private static readonly Func<ILogger, string, string, Phase, IDisposable?> ItemScope = LoggerMessage.DefineScope<string, string, Phase>("saga {Saga}, step {Step}, {Phase}");

    /// <summary>Whatever is logged while an item is handled, by the handler too, says for which saga and step.</summary>
    public static IDisposable? Item(ILogger logger, string saga, string step, Phase phase) =>
        logger.IsEnabled(LogLevel.Error) ? ItemScope(logger, saga, step, phase) : null;

    [LoggerMessage(17, LogLevel.Warning, "Sagas are kept in {Store}, but this process's participants forget with the process what they answered: after a restart, confirms fail and sagas end up stuck. Add .UseFileBarrier(directory) to AddSagaParticipants.")]
    public static partial void ForgetfulBarrier(ILogger logger, string store);

    [LoggerMessage(10, LogLevel.Debug, "Step {Step} of saga {Saga}: {Phase} was refused: {Code}: {Reason}")]
    public static partial void Refused(ILogger logger, string saga, string step, string phase, string? code, string? reason);

    [LoggerMessage(EventId = 11, Message = "Step {Step} of saga {Saga}: {Phase} attempt {Attempt} failed: {Code}: {Reason}")]
    public static partial void Failed(ILogger logger, LogLevel level, string saga, string step, string phase, int attempt, string? code, string? reason);

    [LoggerMessage(12, LogLevel.Warning, "{Count} replies to {ReplyTo} could not be sent and were dropped; the engine will ask again.")]
    public static partial void RepliesDropped(ILogger logger, int count, string replyTo, Exception? error);

    [LoggerMessage(13, LogLevel.Warning, "Replies to {ReplyTo} could not be sent; they are sent again.")]
    public static partial void RepliesHeld(ILogger logger, string replyTo, Exception error);

    [LoggerMessage(14, LogLevel.Warning, "The participants stopped with {Count} items still running; the engine will ask again.")]
    public static partial void StoppedHalfway(ILogger logger, int count);

    [LoggerMessage(15, LogLevel.Information, "Participant {Participant} takes {Commands}")]
    public static partial void Participates(ILogger logger, string participant, string commands);

    [LoggerMessage(16, LogLevel.Warning, "Step {Step} of saga {Saga}: {Phase} attempt {Attempt} is past its deadline; its token is cancelled and its place given to another item.")]
    public static partial void Overdue(ILogger logger, string saga, string step, string phase, int attempt);
}
