using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Journal;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

/// <summary>Thrown where a process dies in the middle of a call. Whatever catches it is dead too.</summary>
internal sealed class SimulatedCrashException() : IOException("The process has crashed here.");

/// <summary>A machine with a disk and a clock. Its process dies and is started again.</summary>
internal abstract class Machine(World world, string name)
{
    private static readonly string[] Calls = [.. Enum.GetNames<DiskCall>().Select(name => "disk " + name)];
    private DateTimeOffset _fullUntil;
    private TimeSpan _clock;

    public string Name { get; } = name;

    /// <summary>The process's present life; null before the first.</summary>
    public Process? Process { get; private set; }

    public bool IsReady { get; protected set; }

    /// <summary>Its disk has failed it: only another start helps.</summary>
    public abstract bool IsSick { get; }

    protected World World { get; } = world;

    protected SimulatedDisk Disk { get; private set; } = new();

    protected bool Opening { get; set; }

    public void Start()
    {
        if (Process is { Alive: true }) return;
        Forget();
        var process = Process = new Process(World.Scheduler, Name) { Offset = _clock, Loses = Breaks == Mutant.LoseTimer ? () => World.Chance.Next(10) == 0 : null };
        var disk = Disk;
        if (Breaks == Mutant.CutOneRecordTooMany) disk.CutEnd("/data/sagas");
        disk.Ask = (call, path) => process.Alive ? Asked(call, path) : (DiskFault.Error, new SimulatedCrashException());
        (Opening, IsReady) = (true, false);
        World.Trace("start", Name, 0);
        _ = RunAsync(process, new ProcessFiles(process, disk, Breaks));
    }

    /// <summary>Kills the process, now and then with the power, and has it started again a while later.</summary>
    public void Crash(Fault why)
    {
        if (Process is not { Alive: true } process) return;
        process.Kill();
        IsReady = false;
        World.Trace("crash", Name + " " + why, 0);
        bool writes = World.Faults.Joins(Fault.UnsyncedWritesLost), entries = World.Faults.Joins(Fault.UnsyncedEntriesLost);
        LosePower(writes, entries);
        StartLater();
    }

    /// <summary>The process is at its end, in good order.</summary>
    protected void Ended(Process process)
    {
        if (!process.Alive) return;
        process.Kill();
        World.Trace("stop", Name, 0);
        Disk.KillProcess();
        Disk.Ask = null;
        StartLater();
    }

    private void StartLater()
    {
        if (IsLost) return;
        World.Scheduler.After(null, World.Faults.Quiet ? 100.Milliseconds() : TimeSpan.FromMilliseconds(World.Chance.Next(1, 8000)), Start);
    }

    /// <summary>Its process does not come back: the others must go on with what it had.</summary>
    public bool IsLost { get; protected set; }

    /// <summary>Kills the process and takes everything that was not synced; it starts again at once.</summary>
    public void CutPower()
    {
        Process?.Kill();
        IsReady = false;
        LosePower(true, true);
        Start();
    }

    /// <summary>Faults that come of themselves, once a second.</summary>
    public virtual void Tick()
    {
        var faults = World.Faults;
        if (Process is not { Alive: true } process) return;
        if (IsSick || faults.Strikes(Fault.CrashAnywhere))
        {
            Crash(Fault.CrashAnywhere);
            return;
        }
        if (faults.Strikes(Fault.Pause)) process.PausedUntil = World.Scheduler.Now + faults.Time(Fault.Pause, 1.Minutes());
        if (faults.Strikes(Fault.DiskFull)) _fullUntil = World.Scheduler.Now + faults.Time(Fault.DiskFull, 20.Seconds());
        if (!faults.Strikes(Fault.ClockJump)) return;
        process.Offset = _clock = (faults.Time(Fault.ClockJump, 2.Hours()) - 1.Hours());
        World.Trace("clock", Name, _clock.Ticks);
    }

    public void Heal()
    {
        _fullUntil = default;
        if (Process is not null) Process.PausedUntil = default;
        if (Process is not { Alive: true } && !IsLost) Start();
    }

    /// <summary>The mistakes of this machine's journal.</summary>
    protected abstract Mutant Breaks { get; }

    /// <summary>The process's life before is over for good.</summary>
    public virtual void Forget()
    {
    }

    protected abstract Task BootAsync(Process process, IJournalFiles files);

    /// <summary>How long the next turn of the journal's writer takes.</summary>
    protected TimeSpan Latency() => World.Faults.Strikes(Fault.SlowDisk)
        ? World.Faults.Time(Fault.SlowDisk, 5.Seconds())
        : TimeSpan.FromMilliseconds(World.Chance.Next(4) * 0.2);

    private async Task RunAsync(Process process, IJournalFiles files)
    {
        try
        {
            await BootAsync(process, files);
            if (!process.Alive) return;
            (Opening, IsReady) = (false, true);
        }
        catch (Exception) when (!process.Alive)
        {
        }
        catch (JournalCorruptException e)
        {
            World.Audit.Fault("journal", Name, $"its own writes are taken for damage: {e.Message}");
        }
        catch (Exception e) when (e is IOException or StoreUnavailableException or NodeNameTakenException)
        {
            World.Trace("start-failed", Name, e.Message.Length);
            Crash(Fault.CrashInRecovery);
        }
    }

    private void LosePower(bool writes, bool entries)
    {
        Disk.KillProcess();
        Disk.Ask = null;
        if (writes || entries) Disk = Disk.AfterPowerCut(World.Chance, writes, entries);
    }

    private (DiskFault, Exception)? Asked(DiskCall call, string path)
    {
        var faults = World.Faults;
        World.Trace(Calls[(int)call], path, 0);
        var crash = Opening ? Fault.CrashInRecovery
            : path.EndsWith(".tmp", StringComparison.Ordinal) && !path.Contains(Spare.NextName) && !path.Contains(Spare.ReserveName) ? Fault.CrashInSnapshot
            : call is DiskCall.Rename or DiskCall.SyncDirectory || path.EndsWith(Manifest.Name, StringComparison.Ordinal) ? Fault.CrashInRotation
            : Fault.CrashAtDisk;
        if (faults.Strikes(crash))
        {
            var torn = call == DiskCall.Write && faults.Joins(Fault.TornWrite);
            // The disk's state is taken after this call has put down what it will.
            var process = Process!;
            process.Kill();
            World.Scheduler.Post(null, () => CrashedAtDisk(process, crash));
            return (torn ? DiskFault.ShortWrite : DiskFault.Error, new SimulatedCrashException());
        }
        if (call == DiskCall.Write && faults.Strikes(Fault.ShortWrite)) return (DiskFault.ShortWrite, SimulatedDisk.Refusal(DiskFault.ShortWrite));
        if (call == DiskCall.Write && faults.Strikes(Fault.WriteError)) return (DiskFault.Error, SimulatedDisk.Refusal(DiskFault.Error));
        if (call is DiskCall.Sync or DiskCall.SyncDirectory && faults.Strikes(Fault.SyncError)) return (DiskFault.Error, SimulatedDisk.Refusal(DiskFault.Error));
        if (_fullUntil > World.Scheduler.Now) return (DiskFault.Full, SimulatedDisk.Refusal(DiskFault.Full));
        return null;
    }

    private void CrashedAtDisk(Process process, Fault why)
    {
        if (!ReferenceEquals(Process, process)) return;
        IsReady = false;
        World.Trace("crash", Name + " " + why, 0);
        bool writes = World.Faults.Joins(Fault.UnsyncedWritesLost), entries = World.Faults.Joins(Fault.UnsyncedEntriesLost);
        LosePower(writes, entries);
        StartLater();
    }
}

/// <summary>An engine's node.</summary>
internal abstract class Node(World world, string name) : Machine(world, name)
{
    public SagaEngine? Engine { get; protected set; }

    /// <summary>What is stored, as the audit reads it.</summary>
    public abstract ISagaStore? Stored { get; }

    public override void Tick()
    {
        base.Tick();
        if (Process is not { Alive: true } process || !IsReady) return;
        if (World.Nodes.Count > 1 && World.Nodes.All(node => !node.IsLost) && World.Faults.Strikes(Fault.NodeLost))
        {
            IsLost = true;
            Crash(Fault.NodeLost);
        }
        else if (World.Faults.Strikes(Fault.Restart)) World.Scheduler.Post(process, () => _ = StopAsync(process));
    }

    /// <summary>When it was last told to stop.</summary>
    public DateTimeOffset StoppingSince { get; private set; }

    public override void Forget() => Engine?.CloseGauges();

    public async ValueTask ReceiveAsync(ReplyBatch batch)
    {
        try
        {
            await Engine!.ReceiveAsync(batch);
        }
        catch (System.Threading.Channels.ChannelClosedException)
        {
            // It stops: a bus would deliver again, and the saga is asked again anyway.
        }
    }

    protected virtual Task LeaveAsync() => Task.CompletedTask;

    private async Task StopAsync(Process process)
    {
        if (!IsReady) return;
        IsReady = false;
        StoppingSince = World.Scheduler.Now;
        World.Trace("stopping", Name, 0);
        try
        {
            if (World.Mutant == Mutant.ReleaseBeforeLastCommit) await LeaveAsync();
            await Engine!.StoppingAsync(CancellationToken.None);
            if (Stored is JournalStore journal) await journal.DisposeAsync();
        }
        catch (Exception e) when (e is StoreUnavailableException or IOException)
        {
            // What is not stored goes on from what is.
        }
        Ended(process);
    }
}

/// <summary>A node on a store that it shares with others.</summary>
internal sealed class SharedNode(World world, StoreServer server, string name) : Node(world, name)
{
    private SharedStore? _store;

    public override ISagaStore Stored => server.Sagas;

    public override bool IsSick => false;

    protected override Mutant Breaks => World.Mutant == Mutant.LoseTimer ? Mutant.LoseTimer : Mutant.None;

    protected override async Task BootAsync(Process process, IJournalFiles files)
    {
        var store = _store = new SharedStore(World, server, this, process);
        var engine = Engine = new SagaEngine(World.DrawDefinitions(), store, new SimulatedTransport(World, process), Options.Create(World.Settings.Engine(Name)), process, NullLogger<SagaEngine>.Instance);
        await engine.StartAsync(CancellationToken.None);
        World.Trace("open", Name, 0);
    }

    protected override async Task LeaveAsync() => await _store!.ReleaseAsync(CancellationToken.None);
}

/// <summary>The only node, on a journal.</summary>
internal sealed class JournalNode(World world, string name) : Node(world, name)
{
    public JournalStore? Store { get; private set; }

    public override ISagaStore? Stored => Store;

    public override bool IsSick => IsReady && Store!.Health.Level == StoreLevel.Down;

    protected override async Task BootAsync(Process process, IJournalFiles files)
    {
        var store = Store = new JournalStore(World.Settings.Journal, World.Settings.Retention, new DiskTime(process, Latency), files);
        var engine = Engine = new SagaEngine(World.DrawDefinitions(), new SimulatedStore(World, this, process, store), new SimulatedTransport(World, process),
            Options.Create(World.Settings.Engine(Name)), process, NullLogger<SagaEngine>.Instance);
        await engine.StartAsync(CancellationToken.None);
        World.Trace("open", Name, 0);
    }

    protected override Mutant Breaks => World.Mutant;
}

/// <summary>Participants on a file barrier.</summary>
internal sealed class Host(World world, string name) : Machine(world, name)
{
    private ParticipantHost? _host;
    private SendReplies? _send;
    private SimulatedBarrier? _barrier;

    public override bool IsSick => _barrier?.IsSick == true;

    protected override async Task BootAsync(Process process, IJournalFiles files)
    {
        var services = new ServiceCollection();
        services.AddSingleton<TimeProvider>(process);
        services.AddSingleton(new Service(World, process));
        services.AddSagaParticipants(p => p.Add<Service>(Name).WithConcurrency(World.Settings.Concurrency).UseBarrier(_ => _barrier = new SimulatedBarrier(World, process, World.Mutant == Mutant.BarrierForgets
            ? new MemoryBarrier(7.Days(), process)
            : new FileBarrier("/data/barrier", 7.Days(), new DiskTime(process, Latency), NullLogger.Instance,
                new JournalOptions { SegmentBytes = World.Settings.Journal.SegmentBytes, ReserveBytes = 4096, Time = new DiskTime(process, Latency) }, files)
            { LeastGrowth = World.Settings.Journal.SegmentBytes })));
        _send = (replyTo, batch, _) => World.ReplyAsync(process, replyTo, batch);
        var host = _host = services.BuildServiceProvider().GetRequiredService<ParticipantHost>();
        await host.StartingAsync(CancellationToken.None);
    }

    protected override Mutant Breaks => World.Mutant == Mutant.BarrierBeforeSync ? Mutant.AcknowledgeBeforeSync : Mutant.None;

    public ValueTask AcceptAsync(CommandBatch batch) => _host!.AcceptAsync(Name, batch, _send!);
}

/// <summary>The machine's disk as one life of its process sees it; closed when that has ended.</summary>
internal sealed class ProcessFiles(Process process, SimulatedDisk disk, Mutant breaks) : IJournalFiles
{
    public void CreateDirectory(string directory) => Alive.CreateDirectory(directory);

    public IDisposable Lock(string path) => Alive.Lock(path);

    public IReadOnlyList<string> List(string directory) => Alive.List(directory);

    public IJournalFile Create(string path) => new ProcessFile(this, Alive.Create(path));

    public IJournalFile Open(string path, bool write) => new ProcessFile(this, Alive.Open(path, write));

    public void Rename(string from, string to)
    {
        if (breaks == Mutant.SnapshotOneShort && to.EndsWith(".snapshot", StringComparison.Ordinal)) Shorten(from);
        Alive.Rename(from, to);
    }

    /// <summary>Writes a snapshot again without its last record.</summary>
    private void Shorten(string path)
    {
        using var file = Alive.Open(path, write: true);
        var head = new byte[Format.SegmentHeaderBytes];
        file.Read(0, head);
        var point = Format.ReadSegmentHeader(path, head, Format.SnapshotMagic)!.Value;
        List<byte[]> records = [];
        SnapshotFile.Read(path, file, point, record => records.Add(record.ToArray()));
        file.SetLength(0);
        var writer = new SnapshotWriter(file, point);
        foreach (var record in records.SkipLast(1)) writer.Write(record);
        writer.Finish();
    }

    public void Delete(string path) => Alive.Delete(path);

    public void SyncDirectory(string directory)
    {
        if (breaks != Mutant.ForgetDirectorySync) Alive.SyncDirectory(directory);
    }

    private void Sync(IJournalFile file)
    {
        if (breaks == Mutant.AcknowledgeBeforeSync) return;
        try
        {
            file.Sync();
        }
        catch (IOException) when (breaks == Mutant.IgnoreFailedSync && process.Alive)
        {
        }
    }

    private SimulatedDisk Alive => process.Alive ? disk : throw new SimulatedCrashException();

    private sealed class ProcessFile(ProcessFiles files, IJournalFile file) : IJournalFile
    {
        public long Length => Alive.Length;

        public int Read(long offset, Span<byte> buffer) => Alive.Read(offset, buffer);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => Alive.Write(offset, bytes);

        public void SetLength(long length) => Alive.SetLength(length);

        public void Sync() => files.Sync(Alive);

        public void Dispose() => file.Dispose();

        private IJournalFile Alive => files.Alive is not null ? file : null!;
    }
}
