using System.Collections.Concurrent;

namespace Sagas.UnderFire;

/// <summary>What is done to a run. Each must have hit something, or the run has tested nothing.</summary>
internal enum Fault
{
    EngineKilled,
    EngineStopped,
    ParticipantKilled,
    ParticipantCrashed,
    RedisKilled,
    RabbitKilled,
    RedisRequestsCut,
    RedisAnswersCut,
    RabbitRequestsCut,
    RabbitAnswersCut,
    BothWaysCut,
    ConnectionSlow,
    MessageDoubled,
    MessageDelayed,
    MessageLost,
    CallFailed,
    CallSlow,
}

/// <summary>What happened.</summary>
internal sealed class Score
{
    private readonly long[] _hits = new long[Enum.GetValues<Fault>().Length];
    private long _late;

    public long this[Fault fault] => Interlocked.Read(ref _hits[(int)fault]);

    public void Hit(Fault fault, long times = 1) => Interlocked.Add(ref _hits[(int)fault], times);

    /// <summary>A try or do came after its undoing, and was refused.</summary>
    public void Late() => Interlocked.Increment(ref _late);

    public long LateTries => Interlocked.Read(ref _late);

    /// <summary>From the end of an engine node, dead or stopped, to the next commit of each of its sagas by another, with nothing else in the way of it.</summary>
    public ConcurrentBag<TimeSpan> Takeovers { get; } = [];

    /// <summary>The same with Redis or RabbitMQ killed or cut off meanwhile.</summary>
    public ConcurrentBag<TimeSpan> HinderedTakeovers { get; } = [];

    public string Text(Fault fault) => fault switch
    {
        Fault.EngineKilled => "engine node killed (-9)",
        Fault.EngineStopped => "engine node stopped beyond its lease, then continued",
        Fault.ParticipantKilled => "participant killed (-9)",
        Fault.ParticipantCrashed => "participant crashed between effect and note",
        Fault.RedisKilled => "Redis killed (-9)",
        Fault.RabbitKilled => "RabbitMQ killed (-9)",
        Fault.RedisRequestsCut => "requests to Redis cut off",
        Fault.RedisAnswersCut => "answers of Redis cut off",
        Fault.RabbitRequestsCut => "what goes to RabbitMQ cut off",
        Fault.RabbitAnswersCut => "what comes from RabbitMQ cut off",
        Fault.BothWaysCut => "connection cut both ways",
        Fault.ConnectionSlow => "connection slow",
        Fault.MessageDoubled => "message doubled",
        Fault.MessageDelayed => "message delayed",
        Fault.MessageLost => "message lost",
        Fault.CallFailed => "handler failed, before or after its effect",
        Fault.CallSlow => "handler slower than the engine waits",
        _ => throw new ArgumentOutOfRangeException(nameof(fault)),
    };
}
