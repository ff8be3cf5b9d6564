namespace Sagas.Testing.Simulator;

/// <summary>What can go wrong in a simulated world.</summary>
public enum Fault
{
    /// <summary>A message vanishes.</summary>
    Drop,
    /// <summary>A message arrives twice.</summary>
    Duplicate,
    /// <summary>A message takes up to half a minute.</summary>
    Delay,
    /// <summary>A message is overtaken by a later one of the same queue.</summary>
    Reorder,
    /// <summary>Two processes do not hear each other for a while; one of the two may still be heard.</summary>
    Partition,
    /// <summary>The bus refuses a message.</summary>
    SendRefused,
    /// <summary>The bus takes a message and fails to say so.</summary>
    SendAnswerLost,
    /// <summary>The store does not do a commit.</summary>
    StoreError,
    /// <summary>The store does a commit and fails to say so.</summary>
    CommitAnswerLost,
    /// <summary>A request reaches the store that nodes share long after its sender has given it up.</summary>
    StoreLate,
    /// <summary>A node does not hear what the shared store tells it of the others.</summary>
    NewsLost,
    /// <summary>The engine's node crashes when it is about to commit.</summary>
    CrashBeforeCommit,
    /// <summary>It crashes when it has committed and not yet dispatched.</summary>
    CrashAfterCommit,
    /// <summary>It crashes when it has sent an envelope, and more may be waiting.</summary>
    CrashAfterDispatch,
    /// <summary>It crashes while it opens its store.</summary>
    CrashInRecovery,
    /// <summary>It crashes when its store is open and its sagas are being taken up.</summary>
    CrashAfterRecovery,
    /// <summary>A process crashes in the middle of a snapshot of its journal.</summary>
    CrashInSnapshot,
    /// <summary>A process crashes while its journal changes over to another segment.</summary>
    CrashInRotation,
    /// <summary>A process crashes at a write or a sync of its journal.</summary>
    CrashAtDisk,
    /// <summary>A node crashes when it has claimed sagas of another and not taken them up.</summary>
    CrashInTakeover,
    /// <summary>A node crashes and is not started again; the others must go on with its sagas.</summary>
    NodeLost,
    /// <summary>A node is stopped in good order, and started again.</summary>
    Restart,
    /// <summary>A process crashes at any other moment.</summary>
    CrashAnywhere,
    /// <summary>A participant crashes before its handler takes effect.</summary>
    CrashBeforeEffect,
    /// <summary>A participant crashes when its handler has taken effect and the barrier does not know.</summary>
    CrashAfterEffect,
    /// <summary>A participant crashes when the barrier knows and nothing has been answered.</summary>
    CrashBeforeReply,
    /// <summary>A crash takes the power with it: writes that were not synced land one by one, or never.</summary>
    UnsyncedWritesLost,
    /// <summary>A crash takes the power with it: changes of the directory that were not synced are lost, in any order.</summary>
    UnsyncedEntriesLost,
    /// <summary>A crash leaves half of a write.</summary>
    TornWrite,
    /// <summary>A write puts half of its bytes down and fails.</summary>
    ShortWrite,
    /// <summary>A write fails.</summary>
    WriteError,
    /// <summary>A sync fails, and what it should have synced counts as clean.</summary>
    SyncError,
    /// <summary>The disk is full for a while.</summary>
    DiskFull,
    /// <summary>The disk takes seconds for a sync.</summary>
    SlowDisk,
    /// <summary>A process's clock is set forward or back by up to an hour.</summary>
    ClockJump,
    /// <summary>A process stands still for up to a minute, and then goes on as if nothing had been.</summary>
    Pause,
    /// <summary>A handler says no.</summary>
    Refusal,
    /// <summary>A handler that has taken effect is called again and says no.</summary>
    RefusalAfterEffect,
    /// <summary>A handler says not now.</summary>
    Busy,
    /// <summary>A handler throws without effect.</summary>
    HandlerError,
    /// <summary>A handler takes effect and throws.</summary>
    HandlerErrorAfterEffect,
    /// <summary>A handler takes longer than the engine waits.</summary>
    SlowHandler,
    /// <summary>The barrier's store does not answer.</summary>
    BarrierError,
    /// <summary>An operator cancels.</summary>
    Cancel,
    /// <summary>An operator pauses, and resumes later.</summary>
    Hold,
    /// <summary>A client repeats a start that was answered.</summary>
    RepeatedStart,
    /// <summary>An operator cancels many at once.</summary>
    BulkCancel,
    /// <summary>An operator has many asked again at once.</summary>
    BulkRetry,
}

/// <summary>Which faults a seed has, how likely each is, and how often it struck.</summary>
internal sealed class Faults
{
    private static readonly int Kinds = Enum.GetValues<Fault>().Length;
    private readonly double[] _chances = new double[Kinds];
    private readonly Random[] _dice;

    /// <param name="seed">The seed.</param>
    /// <param name="without">Faults to leave out.</param>
    /// <param name="always">Faults that are as likely as they can be: what only meets together is rare otherwise.</param>
    public Faults(int seed, IReadOnlySet<Fault> without, params ReadOnlySpan<Fault> always)
    {
        // A die for each kind: leaving one kind out when a failing seed is shrunk does not change how the others fall.
        _dice = [.. Enumerable.Range(0, Kinds).Select(kind => new Random(HashCode(seed, kind)))];
        foreach (var fault in Enum.GetValues<Fault>())
        {
            var dice = _dice[(int)fault];
            var has = dice.Next(2) == 0;
            var chance = Most(fault) * Math.Pow(10, -2 * dice.NextDouble());
            _chances[(int)fault] = always.Contains(fault) ? Most(fault) : has && !without.Contains(fault) ? chance : 0;
        }
    }

    public long[] Hits { get; } = new long[Kinds];

    /// <summary>Faults have stopped.</summary>
    public bool Quiet { get; set; }

    public bool Has(Fault fault) => _chances[(int)fault] > 0;

    /// <summary>Whether the fault strikes here.</summary>
    public bool Strikes(Fault fault)
    {
        if (Quiet || _chances[(int)fault] == 0 || _dice[(int)fault].NextDouble() >= _chances[(int)fault]) return false;
        Hits[(int)fault]++;
        return true;
    }

    /// <summary>Something that goes with another fault: half of the time, when the seed has it.</summary>
    public bool Joins(Fault fault)
    {
        if (!Has(fault) || _dice[(int)fault].Next(2) == 0) return false;
        Hits[(int)fault]++;
        return true;
    }

    public int Roll(Fault fault, int below) => _dice[(int)fault].Next(below);

    public TimeSpan Time(Fault fault, TimeSpan most) => most * _dice[(int)fault].NextDouble();

    /// <summary>The highest chance, each time there is an opportunity; a seed's own is down to a hundredth of it.</summary>
    private static double Most(Fault fault) => fault switch
    {
        Fault.Drop => 0.3,
        Fault.Duplicate => 0.5,
        Fault.Delay => 0.2,
        Fault.Reorder => 0.5,
        Fault.Partition or Fault.Pause or Fault.ClockJump or Fault.DiskFull => 0.05,       // each process, each second
        Fault.CrashAnywhere => 0.03,                                                       // each process, each second
        Fault.SendRefused or Fault.SendAnswerLost => 0.1,
        Fault.StoreError or Fault.CommitAnswerLost => 0.1,
        Fault.CrashBeforeCommit or Fault.CrashAfterCommit or Fault.CrashAfterDispatch => 0.005,
        Fault.CrashInRecovery => 0.02,                                                     // each call to the disk while opening
        Fault.CrashAfterRecovery => 0.3,
        Fault.CrashInTakeover => 5,                                                        // each claim, of which there are few
        Fault.StoreLate => 0.01,                                                           // each request
        Fault.NewsLost => 0.5,
        Fault.NodeLost or Fault.Restart => 0.05,                                           // each node, each second
        Fault.CrashInSnapshot => 0.5,                                                      // each call to the disk
        Fault.CrashInRotation => 0.1,                             // each call to the disk
        Fault.CrashAtDisk => 0.003,
        Fault.CrashBeforeEffect or Fault.CrashAfterEffect or Fault.CrashBeforeReply => 0.005,
        Fault.TornWrite or Fault.UnsyncedWritesLost or Fault.UnsyncedEntriesLost => 1,     // each crash
        Fault.RefusalAfterEffect => 1,                                                     // each further call
        Fault.ShortWrite or Fault.WriteError or Fault.SyncError => 0.002,
        Fault.SlowDisk => 0.05,
        Fault.Refusal => 0.2,
        Fault.Busy or Fault.HandlerError or Fault.HandlerErrorAfterEffect => 0.2,
        Fault.SlowHandler => 0.1,
        Fault.BarrierError => 0.02,
        Fault.Cancel or Fault.Hold => 0.2,                                                 // each saga
        Fault.RepeatedStart => 0.3,
        Fault.BulkCancel or Fault.BulkRetry => 0.03,                                       // each second
        _ => throw new ArgumentOutOfRangeException(nameof(fault), fault, "A fault needs a chance."),
    };

    // Not System.HashCode, which differs from process to process.
    private static int HashCode(int seed, int kind) => unchecked((int)((((uint)seed * 2654435761u) ^ ((uint)kind * 40503u)) * 2246822519u));
}
