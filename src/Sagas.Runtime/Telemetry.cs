using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace Sagas.Runtime;

/// <summary>Every metric, span and log name of the engine.</summary>
internal static class Telemetry
{
    public const string Name = "Sagas";

    public static readonly ActivitySource Source = new(Name);
    public static readonly Meter Meter = new(Name);

    public static readonly Counter<long> Started = Meter.CreateCounter<long>("sagas.started", "{saga}", "Sagas started, by definition.");
    public static readonly Counter<long> Ended = Meter.CreateCounter<long>("sagas.ended", "{saga}", "Sagas ended, by definition and status.");
    public static readonly Histogram<double> Duration = Meter.CreateHistogram<double>("sagas.duration", "s", "From start to end, by definition and status.");
    public static readonly Counter<long> Failed = Meter.CreateCounter<long>("sagas.attempts.failed", "{attempt}", "Attempts that were refused, erred or timed out, by definition, step, phase and outcome.");
    public static readonly Counter<long> Commits = Meter.CreateCounter<long>("sagas.commits", "{commit}", "Saga versions made durable.");
    public static readonly Counter<long> StoreWrites = Meter.CreateCounter<long>("sagas.store.writes", "{call}", "Commit calls to the store.");
    public static readonly Counter<long> Conflicts = Meter.CreateCounter<long>("sagas.conflicts", "{commit}", "Commits that met another version.");
    public static readonly Counter<long> CommandsSent = Meter.CreateCounter<long>("sagas.commands", "{command}", "Commands sent.");
    public static readonly Counter<long> CommandsLeftOut = Meter.CreateCounter<long>("sagas.commands.left_out", "{command}", "Commands not queued because too many wait for their destination, by destination; asked again when their attempts time out.");
    public static readonly Counter<long> Envelopes = Meter.CreateCounter<long>("sagas.envelopes", "{message}", "Bus messages sent with commands.");
    public static readonly Counter<long> ReplyEnvelopes = Meter.CreateCounter<long>("sagas.replies.envelopes", "{message}", "Bus messages received with replies.");
    public static readonly Counter<long> RepliesIgnored = Meter.CreateCounter<long>("sagas.replies.ignored", "{reply}", "Replies for sagas that have ended or are not here.");
    public static readonly Counter<long> Parked = Meter.CreateCounter<long>("sagas.parked", "{saga}", "Sagas parked because a decision broke an invariant.");
}

/// <summary>Of what goes wrong many times a second while something is away, says it at once and then once a second, with how often.</summary>
internal sealed class Seldom
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);
    private DateTimeOffset _next = DateTimeOffset.MinValue;
    private int _count;

    /// <summary>Whether it is said now, and how often it happened since it was said last.</summary>
    public bool Says(int more, DateTimeOffset now, out int count)
    {
        count = _count += more;
        // Also when the clock was set back.
        if (now < _next && now >= _next - Every) return false;
        (_next, _count) = (now + Every, 0);
        return true;
    }
}

/// <summary>Every log message of the engine.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "Node {Node} has opened its store: {Count} unfinished sagas go on.")]
    public static partial void Opened(this ILogger log, string node, int count);

    [LoggerMessage(2, LogLevel.Error, "Saga {Saga} is one of {Definition} v{Version}, which this node does not have; it waits until that version is loaded again.")]
    public static partial void DefinitionMissing(this ILogger log, SagaId saga, string definition, int version);

    [LoggerMessage(19, LogLevel.Error, "Definition {Definition} v{Version} in the store cannot be read by this program: it is not loaded, and its sagas wait. Run the version that wrote it.")]
    public static partial void DefinitionUnread(this ILogger log, Exception why, string definition, int version);

    [LoggerMessage(20, LogLevel.Information, "Operation {Operation} ({Action}) goes on here; {Count} sagas were asked before.")]
    public static partial void OperationResumed(this ILogger log, string operation, OperationAction action, long count);

    [LoggerMessage(21, LogLevel.Error, "Operation {Operation} came to a halt; it is taken up again in half a minute. Please report this.")]
    public static partial void OperationFailed(this ILogger log, Exception why, string operation);

    [LoggerMessage(22, LogLevel.Warning, "The store does not say which operations run; it is asked again in a few seconds.")]
    public static partial void OperationsUnread(this ILogger log, Exception why);

    [LoggerMessage(3, LogLevel.Error, "{Count} commits failed since this was said last; what they decided is not acknowledged, and is asked again once the store answers.")]
    public static partial void CommitFailed(this ILogger log, Exception why, int count);

    [LoggerMessage(4, LogLevel.Error, "Saga {Saga} of {Definition} is parked: a decision went wrong. It is paused as it was; the others go on. Please report this.")]
    public static partial void Parked(this ILogger log, Exception why, SagaId saga, string definition);

    [LoggerMessage(5, LogLevel.Warning, "{Count} commands to {Participant} could not be sent; they are sent again until their attempts time out.")]
    public static partial void SendFailed(this ILogger log, Exception why, string participant, int count);

    [LoggerMessage(23, LogLevel.Warning, "{Count} commands wait for {Destination}, and no more are queued: further ones are asked again when their attempts time out. Does it run, and does it keep up? Start more processes of it, or let fewer sagas go there at a time (.Limit on the step).")]
    public static partial void LaneFull(this ILogger log, int count, string destination);

    [LoggerMessage(24, LogLevel.Information, "Commands to {Destination} are queued again; {Count} were left out meanwhile, and are asked again.")]
    public static partial void LaneHasRoom(this ILogger log, string destination, long count);

    [LoggerMessage(6, LogLevel.Debug, "Saga {Saga} of {Definition} has ended: {Status}.")]
    public static partial void SagaEnded(this ILogger log, SagaId saga, string definition, SagaStatus status);

    [LoggerMessage(7, LogLevel.Warning, "Saga {Saga} of {Definition} is stuck at {Step}: {Reason}")]
    public static partial void SagaStuck(this ILogger log, SagaId saga, string definition, string step, string reason);

    [LoggerMessage(8, LogLevel.Critical, "A worker of the engine has stopped. Restart this node; nothing acknowledged is lost, and nodes that share its store take over its sagas.")]
    public static partial void WorkerStopped(this ILogger log, Exception why);

    [LoggerMessage(36, LogLevel.Error, "Saga {Saga} cannot be read from the store. It is tried again; the others go on.")]
    public static partial void Unreadable(this ILogger log, Exception why, SagaId saga);

    [LoggerMessage(18, LogLevel.Error, "Saga {Saga} of {Definition} cannot be stored: nothing of what was decided is done. It is tried again; the others go on.")]
    public static partial void Unstorable(this ILogger log, Exception why, SagaId saga, string definition);

    [LoggerMessage(EventId = 10, Message = "Step {Step} of saga {Saga}: {Phase} attempt {Attempt} over HTTP failed: {Code}: {Message}")]
    public static partial void HttpFailed(this ILogger log, LogLevel level, SagaId saga, string step, Phase phase, int attempt, string code, string message);

    [LoggerMessage(9, LogLevel.Information, "Node {Node} has stopped.")]
    public static partial void Stopped(this ILogger log, string node);

    [LoggerMessage(40, LogLevel.Warning, "Node {Node} has taken over {Count} sagas of node {Dead}.")]
    public static partial void TookOver(this ILogger log, string node, int count, string dead);

    [LoggerMessage(41, LogLevel.Critical, "Another process runs as node {Node}. Both go on, and no saga is done twice, but neither is taken over when it dies. Give each a name of its own (Sagas:Node).")]
    public static partial void NodeNameTaken(this ILogger log, Exception why, string node);

    [LoggerMessage(42, LogLevel.Error, "Node {Node} could not look after its lease and the other nodes; it tries again.")]
    public static partial void NodeTurnFailed(this ILogger log, Exception why, string node);

    [LoggerMessage(43, LogLevel.Critical, "Saga {Saga} of {Definition} is lost: this node had committed version {Version}, and the store has none. What its participants hold is to be looked after by hand.")]
    public static partial void SagaLost(this ILogger log, SagaId saga, string definition, long version);
}
